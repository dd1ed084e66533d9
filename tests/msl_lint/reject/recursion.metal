#include <metal_stdlib>
using namespace metal;

inline uint odd(uint n);

inline uint even(uint n) { return n == 0 ? 1 : odd(n - 1); }  // expect: 'even' reaches itself

inline uint odd(uint n) { return n == 0 ? 0 : even(n - 1); }  // expect: 'odd' reaches itself

kernel void parity(device uint* y [[buffer(0)]]) { y[0] = even(y[0]); }
