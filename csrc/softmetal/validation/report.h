// Where the validation layer says what is wrong.
//
// Checks that keep memory safe run always; their reports are silent unless the layer is on (MTL_DEBUG_LAYER=1).
#pragma once

#include <string>

#include "softmetal/environment.h"

namespace softmetal::validation {

// Takes over the settings when a device is created.
void configure(const Environment& environment);

bool enabled();

// One line on stderr: the call, then what is wrong with which argument. Aborts unless the error mode is nslog.
void report(const char* call, const std::string& message);

// A part of Metal that softmetal lacks: printed even when the layer is off.
void report_unimplemented(const char* call, const std::string& message);

// Printed when the layer is on; never aborts.
void note(const std::string& message);

}  // namespace softmetal::validation
