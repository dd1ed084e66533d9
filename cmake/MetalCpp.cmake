# Brings Apple's metal-cpp headers and the frameworks behind them to a build for macOS, as the target fastgo::metal_cpp.
#
# METAL_CPP_DIR names a folder that holds Metal/Metal.hpp (needs no network); without it Apple's release is fetched
# once and checked against the hash that Homebrew's mlx formula publishes for it.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Darwin")
  message(FATAL_ERROR "metal-cpp is for macOS; elsewhere link softmetal (CMAKE_SYSTEM_NAME is ${CMAKE_SYSTEM_NAME})")
endif()

set(METAL_CPP_DIR "" CACHE PATH "Folder of a metal-cpp release (holds Metal/Metal.hpp); empty: fetch it from Apple")
set(METAL_CPP_URL "https://developer.apple.com/metal/cpp/files/metal-cpp_26.zip" CACHE STRING "Release to fetch")
set(METAL_CPP_SHA256 "4df3c078b9aadcb516212e9cb03004cbc5ce9a3e9c068fa3144d021db585a3a4"
    CACHE STRING "Hash of the release to fetch; change it together with METAL_CPP_URL")

if(METAL_CPP_DIR)
  set(fastgo_metal_cpp_dir "${METAL_CPP_DIR}")
else()
  include(FetchContent)
  FetchContent_Declare(metal_cpp URL "${METAL_CPP_URL}" URL_HASH "SHA256=${METAL_CPP_SHA256}"
                       DOWNLOAD_EXTRACT_TIMESTAMP FALSE)
  FetchContent_MakeAvailable(metal_cpp)
  set(fastgo_metal_cpp_dir "${metal_cpp_SOURCE_DIR}")
endif()
if(NOT EXISTS "${fastgo_metal_cpp_dir}/Metal/Metal.hpp")
  message(FATAL_ERROR "no Metal/Metal.hpp in ${fastgo_metal_cpp_dir}: set METAL_CPP_DIR to the root of a metal-cpp release")
endif()

add_library(fastgo_metal_cpp INTERFACE)
add_library(fastgo::metal_cpp ALIAS fastgo_metal_cpp)
target_include_directories(fastgo_metal_cpp SYSTEM INTERFACE "${fastgo_metal_cpp_dir}")
target_compile_definitions(fastgo_metal_cpp INTERFACE METALCPP_SYMBOL_VISIBILITY_HIDDEN)
target_link_libraries(fastgo_metal_cpp INTERFACE
                      "-framework Metal" "-framework Foundation" "-framework CoreFoundation" objc)
