#include <metal_stdlib>
using namespace metal;

struct Row {
  float a;
};

struct Column {
  float a;
};

kernel void copy(device Row* rows [[buffer(0)]], constant Column& column [[buffer(1)]]) {
  Row first = rows[0];
  rows[1] = first;
  rows[2] = column;  // expect: no viable overloaded '='
}
