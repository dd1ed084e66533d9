// The one file that instantiates metal-cpp's selectors and constants. It is compiled on Apple only: softmetal has
// nothing of the kind.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
