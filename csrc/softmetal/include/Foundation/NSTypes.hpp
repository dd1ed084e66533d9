// Integer types of Foundation, as metal-cpp names them.
#pragma once

#include <cstdint>

namespace NS {

using TimeInterval = double;  // seconds
using Integer = std::intptr_t;
using UInteger = std::uintptr_t;

const Integer IntegerMax = INTPTR_MAX;
const Integer IntegerMin = INTPTR_MIN;
const UInteger UIntegerMax = UINTPTR_MAX;

}  // namespace NS
