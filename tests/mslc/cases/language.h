#ifndef LANGUAGE_H
#define LANGUAGE_H

#define FIRST_CONSTANT (1 + 0)
#define SUM_(...) sum_of(__VA_ARGS__)
#define VARIADIC(...) SUM_(__VA_ARGS__)
#define PASTE(a, b) a##b
#define CONCAT(a, b) PASTE(a, b)

inline int sum_of(int a, int b = 0, int c = 0) { return a + b + c; }

enum class Mode : uint { FIRST, SECOND = 5, THIRD };
enum { COUNT = 1 << 2 };

struct Inner {
  packed_float3 direction;
  uchar flag;
};

struct Options {
  float shift[2];
  ulong size;
  half3 colour;
  Inner inner;
  Inner many[COUNT - 1];
  Mode mode;
  device const float* data;
};

#endif
