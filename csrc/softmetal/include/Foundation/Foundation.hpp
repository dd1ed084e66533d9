// The part of metal-cpp's Foundation that fastgo uses, implemented by softmetal.
#pragma once

#include "NSArray.hpp"
#include "NSAutoreleasePool.hpp"
#include "NSError.hpp"
#include "NSObject.hpp"
#include "NSRange.hpp"
#include "NSSharedPtr.hpp"
#include "NSString.hpp"
#include "NSTypes.hpp"
