#include <metal_stdlib>
using namespace metal;

struct Base {
  virtual float value();  // expect: MSL has no virtual functions
};

inline void forbidden(thread float& y) {
  register float sum = y;       // expect: MSL has no register variables
  thread_local float kept = y;  // expect: MSL has no thread_local variables
  goto end;                     // expect: MSL has no goto
end:
  try {         // expect: MSL has no exceptions
    y = sum;
  } catch (...) {  // expect: MSL has no exceptions
  }
  delete &y;                           // expect: MSL has no delete
  y = dynamic_cast<thread float&>(y);  // expect: MSL has no dynamic_cast
  y = typeid(y).x;                     // expect: MSL has no typeid
  asm("nop");                          // expect: MSL has no inline assembly
  wchar_t letter = 0;                  // expect: MSL has no wchar_t
}
