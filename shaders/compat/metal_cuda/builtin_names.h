// Names that clash with CUDA's own, and the compiler builtins of metal_cpu as the functions that CUDA has for them.
#pragma once

// CUDA's built-in headers define vectors of these names in the global namespace. Ours take other ones.
#define SOFTMETAL_OWN_NAME(name) metal_own_##name
#define char2 SOFTMETAL_OWN_NAME(char2)
#define char3 SOFTMETAL_OWN_NAME(char3)
#define char4 SOFTMETAL_OWN_NAME(char4)
#define uchar2 SOFTMETAL_OWN_NAME(uchar2)
#define uchar3 SOFTMETAL_OWN_NAME(uchar3)
#define uchar4 SOFTMETAL_OWN_NAME(uchar4)
#define short2 SOFTMETAL_OWN_NAME(short2)
#define short3 SOFTMETAL_OWN_NAME(short3)
#define short4 SOFTMETAL_OWN_NAME(short4)
#define ushort2 SOFTMETAL_OWN_NAME(ushort2)
#define ushort3 SOFTMETAL_OWN_NAME(ushort3)
#define ushort4 SOFTMETAL_OWN_NAME(ushort4)
#define int2 SOFTMETAL_OWN_NAME(int2)
#define int3 SOFTMETAL_OWN_NAME(int3)
#define int4 SOFTMETAL_OWN_NAME(int4)
#define uint2 SOFTMETAL_OWN_NAME(uint2)
#define uint3 SOFTMETAL_OWN_NAME(uint3)
#define uint4 SOFTMETAL_OWN_NAME(uint4)
#define long2 SOFTMETAL_OWN_NAME(long2)
#define long3 SOFTMETAL_OWN_NAME(long3)
#define long4 SOFTMETAL_OWN_NAME(long4)
#define ulong2 SOFTMETAL_OWN_NAME(ulong2)
#define ulong3 SOFTMETAL_OWN_NAME(ulong3)
#define ulong4 SOFTMETAL_OWN_NAME(ulong4)
#define float2 SOFTMETAL_OWN_NAME(float2)
#define float3 SOFTMETAL_OWN_NAME(float3)
#define float4 SOFTMETAL_OWN_NAME(float4)

#define __builtin_acosf ::acosf
#define __builtin_acoshf ::acoshf
#define __builtin_asinf ::asinf
#define __builtin_asinhf ::asinhf
#define __builtin_atanf ::atanf
#define __builtin_atan2f ::atan2f
#define __builtin_atanhf ::atanhf
#define __builtin_ceilf ::ceilf
#define __builtin_copysignf ::copysignf
#define __builtin_cosf ::cosf
#define __builtin_coshf ::coshf
#define __builtin_expf ::expf
#define __builtin_exp2f ::exp2f
#define __builtin_fabsf ::fabsf
#define __builtin_fdimf ::fdimf
#define __builtin_floorf ::floorf
#define __builtin_fmaf ::fmaf
#define __builtin_fmaxf ::fmaxf
#define __builtin_fminf ::fminf
#define __builtin_fmodf ::fmodf
#define __builtin_frexpf ::frexpf
#define __builtin_ilogbf ::ilogbf
#define __builtin_ldexpf ::ldexpf
#define __builtin_logf ::logf
#define __builtin_log2f ::log2f
#define __builtin_log10f ::log10f
#define __builtin_modff ::modff
#define __builtin_nextafterf ::nextafterf
#define __builtin_powf ::powf
#define __builtin_rintf ::rintf
#define __builtin_roundf ::roundf
#define __builtin_sinf ::sinf
#define __builtin_sinhf ::sinhf
#define __builtin_sqrtf ::sqrtf
#define __builtin_tanf ::tanf
#define __builtin_tanhf ::tanhf
#define __builtin_truncf ::truncf

#define __builtin_popcountll(value) ::__popcll(value)
#define __builtin_clzll(value) ::__clzll(static_cast<long long>(value))
#define __builtin_ctzll(value) (::__ffsll(static_cast<long long>(value)) - 1)
#define __builtin_ctz(value) (::__ffs(static_cast<int>(value)) - 1)

#define __builtin_inff() __builtin_bit_cast(float, 0x7F800000u)
#define __builtin_nanf(text) __builtin_bit_cast(float, 0x7FC00000u)
