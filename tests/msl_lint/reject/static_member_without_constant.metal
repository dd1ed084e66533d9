#include <metal_stdlib>
using namespace metal;

struct Tile {
  static const uint size = 8;  // expect: a static member must be in the address space constant: 'size'
};

kernel void fill(device float* y [[buffer(0)]]) { y[0] = Tile::size; }
