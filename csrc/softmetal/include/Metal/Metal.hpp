// The part of metal-cpp's Metal API that fastgo uses, implemented by softmetal: same names, signatures, ownership
// rules.
#pragma once

#include "Foundation/Foundation.hpp"
#include "MTLAllocation.hpp"
#include "MTLBlitCommandEncoder.hpp"
#include "MTLBuffer.hpp"
#include "MTLCommandBuffer.hpp"
#include "MTLCommandEncoder.hpp"
#include "MTLCommandQueue.hpp"
#include "MTLComputeCommandEncoder.hpp"
#include "MTLComputePipeline.hpp"
#include "MTLDataType.hpp"
#include "MTLDevice.hpp"
#include "MTLEvent.hpp"
#include "MTLHeap.hpp"
#include "MTLIndirectCommandBuffer.hpp"
#include "MTLIndirectCommandEncoder.hpp"
#include "MTLLibrary.hpp"
#include "MTLResource.hpp"
#include "MTLTypes.hpp"
