// What a kernel may do before the kernels that it depends on are done: read its arguments and weights.
//
// On NVIDIA a kernel is launched while the one before it runs, and waits for it at its start. A kernel that calls
// wait_for_inputs itself, once, in every thread, waits only there; until then it may touch nothing but its argument
// struct, weights, and what no kernel of the same program writes before it, those of the program's first stage
// excepted. Everywhere else kernels start when their inputs are there, and the function does nothing.
#pragma once

#ifndef __SOFTMETAL_CUDA__
inline void wait_for_inputs() {}
#endif
