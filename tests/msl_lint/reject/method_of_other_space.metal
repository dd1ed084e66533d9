#include <metal_stdlib>
using namespace metal;

struct Counter {
  uint n;
  void step() { n++; }
};

kernel void count(device Counter* counters [[buffer(0)]]) {
  counters[0].step();  // expect: cannot initialize object parameter of type 'Counter'
}
