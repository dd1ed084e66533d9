// Names and sizes of the types that function constants can have.
#include <array>

#include "softmetal/api/descriptors.h"

namespace softmetal {
namespace {

struct Family {
  MTL::DataType first;  // the scalar; the vectors of 2, 3 and 4 follow
  std::array<const char*, 4> names;
  std::uint32_t scalar_size;
};

constexpr std::array<Family, 12> families{{
    {MTL::DataTypeFloat, {"float", "float2", "float3", "float4"}, 4},
    {MTL::DataTypeHalf, {"half", "half2", "half3", "half4"}, 2},
    {MTL::DataTypeInt, {"int", "int2", "int3", "int4"}, 4},
    {MTL::DataTypeUInt, {"uint", "uint2", "uint3", "uint4"}, 4},
    {MTL::DataTypeShort, {"short", "short2", "short3", "short4"}, 2},
    {MTL::DataTypeUShort, {"ushort", "ushort2", "ushort3", "ushort4"}, 2},
    {MTL::DataTypeChar, {"char", "char2", "char3", "char4"}, 1},
    {MTL::DataTypeUChar, {"uchar", "uchar2", "uchar3", "uchar4"}, 1},
    {MTL::DataTypeBool, {"bool", "bool2", "bool3", "bool4"}, 1},
    {MTL::DataTypeLong, {"long", "long2", "long3", "long4"}, 8},
    {MTL::DataTypeULong, {"ulong", "ulong2", "ulong3", "ulong4"}, 8},
    {MTL::DataTypeBFloat, {"bfloat", "bfloat2", "bfloat3", "bfloat4"}, 2},
}};

}  // namespace

TypeTraits traits_of(MTL::DataType type) {
  for (const Family& family : families) {
    if (type < family.first || type > family.first + 3) continue;
    const std::size_t lanes = type - family.first;
    const std::uint32_t stored_lanes = lanes == 2 ? 4 : static_cast<std::uint32_t>(lanes) + 1;
    return {family.names[lanes], family.scalar_size * stored_lanes};
  }
  return {nullptr, 0};
}

}  // namespace softmetal
