// The part of CoreFoundation that metal-cpp's headers name. It exists so that Darwin code can be type-checked on a
// machine without Apple's SDK; it is never used on a Mac.
#pragma once

#include <TargetConditionals.h>
#include <dispatch/dispatch.h>
#include <stdint.h>

// Seconds.
typedef double CFTimeInterval;
