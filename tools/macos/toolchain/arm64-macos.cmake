# Cross-builds the macOS wheel with the ziglang wheel's clang and linker, on a machine without Apple's SDK.
#
# The result is type-checked and linked, not run: releases are built on a Mac. Use:
#   _PYTHON_HOST_PLATFORM=macosx-14.0-arm64 CMAKE_TOOLCHAIN_FILE=$PWD/tools/macos/toolchain/arm64-macos.cmake \
#     pip wheel . --no-build-isolation --no-deps -Ccmake.define.METAL_CPP_DIR=<metal-cpp> \
#     -Ccmake.define.PYTHON_MODULE_EXTENSION=.cpython-311-darwin.so
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(CMAKE_OSX_SYSROOT "" CACHE STRING "" FORCE)
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "" FORCE)
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "" FORCE)

set(CMAKE_C_COMPILER ${CMAKE_CURRENT_LIST_DIR}/cc)
set(CMAKE_CXX_COMPILER ${CMAKE_CURRENT_LIST_DIR}/c++)
set(CMAKE_AR ${CMAKE_CURRENT_LIST_DIR}/ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${CMAKE_CURRENT_LIST_DIR}/ranlib CACHE FILEPATH "")
# There is nothing to strip or to rename: both only exist on a Mac.
set(CMAKE_STRIP /bin/true CACHE FILEPATH "")
set(CMAKE_INSTALL_NAME_TOOL /bin/true CACHE FILEPATH "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
# zig's Mach-O linker reads no bitcode.
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)

set(CMAKE_USER_MAKE_RULES_OVERRIDE ${CMAKE_CURRENT_LIST_DIR}/rules.cmake)
set(fastgo_stubs ${CMAKE_CURRENT_LIST_DIR}/../stubs)
set(CMAKE_CXX_FLAGS_INIT "-isystem ${fastgo_stubs}")
set(CMAKE_MODULE_LINKER_FLAGS_INIT
    "-undefined dynamic_lookup -F${fastgo_stubs}/Frameworks -L${fastgo_stubs}/lib")

set(PYTHON_MODULE_DEBUG_POSTFIX "" CACHE STRING "")
set(PYTHON_IS_DEBUG OFF CACHE BOOL "")
