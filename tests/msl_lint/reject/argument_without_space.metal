#include <metal_stdlib>
using namespace metal;

struct Args {
  uint n;
};

kernel void fill(thread Args& args [[buffer(0)]]) {  // expect: needs the address space device, constant or threadgroup
  args.n = 1;
}
