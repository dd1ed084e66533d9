# zig's linker makes no bundles, which is what CMake asks for on Darwin: a dynamic library loads just as well.
set(CMAKE_SHARED_MODULE_CREATE_C_FLAGS "-shared")
set(CMAKE_SHARED_MODULE_CREATE_CXX_FLAGS "-shared")
