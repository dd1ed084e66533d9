# fastgo_translate_shaders(NAME SOURCES INCLUDE_DIR) makes object libraries from .metal files:
#   NAME_table  source text and reflection, and the list fastgo::shader_files; for every platform
#   NAME_cpu    the kernels as C++, registered with softmetal's CPU driver; not for Apple
#   NAME_cuda   their text for NVRTC, registered with softmetal's CUDA driver; not for Apple
set(FASTGO_MSLC ${CMAKE_CURRENT_LIST_DIR}/../tools/mslc.py)
set(FASTGO_CSRC ${CMAKE_CURRENT_LIST_DIR}/../csrc)
set(FASTGO_COMPAT ${CMAKE_CURRENT_LIST_DIR}/../shaders/compat)
file(GLOB FASTGO_MSLC_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../tools/mslc_lib/*.py)

function(fastgo_translate_one source include_dir kind output)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${Python_EXECUTABLE} ${FASTGO_MSLC} ${source} --emit ${kind} -I ${include_dir} -o ${output}
            --depfile ${output}.d
    DEPENDS ${source} ${FASTGO_MSLC} ${FASTGO_MSLC_SOURCES}
    DEPFILE ${output}.d
    COMMENT "Translating ${source} (${kind})"
    VERBATIM)
endfunction()

function(fastgo_translate_shaders name sources include_dir)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/${name})
  file(MAKE_DIRECTORY ${generated})
  set(tables)
  set(kernels)
  set(table_externs "")
  set(table_entries "")
  set(texts)
  set(cuda_externs "")
  set(cuda_entries "")
  set(cpu_externs "")
  set(cpu_entries "")
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    fastgo_translate_one(${source} ${include_dir} table ${generated}/${stem}.table.cpp)
    fastgo_translate_one(${source} ${include_dir} cpp ${generated}/${stem}.cpu.cpp)
    fastgo_translate_one(${source} ${include_dir} cuda-table ${generated}/${stem}.cuda.cpp)
    list(APPEND texts ${generated}/${stem}.cuda.cpp)
    string(APPEND cuda_externs "extern const softmetal::cuda::TranslatedShader translated_${stem};\n")
    string(APPEND cuda_entries "    &translated_${stem},\n")
    list(APPEND tables ${generated}/${stem}.table.cpp)
    list(APPEND kernels ${generated}/${stem}.cpu.cpp)
    string(APPEND table_externs "extern const fastgo::ShaderFile shader_${stem};\n")
    string(APPEND table_entries "    &shader_${stem},\n")
    string(APPEND cpu_externs "extern const softmetal::cpu::CompiledShader compiled_${stem};\n")
    string(APPEND cpu_entries "    &compiled_${stem},\n")
  endforeach()
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/shader_list.cpp.in ${generated}/shader_list.cpp @ONLY)
  add_library(${name}_table OBJECT ${tables} ${generated}/shader_list.cpp)
  target_include_directories(${name}_table PUBLIC ${FASTGO_CSRC})
  if(NOT APPLE)
    configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/shader_list_cpu.cpp.in ${generated}/shader_list_cpu.cpp @ONLY)
    add_library(${name}_cpu OBJECT ${kernels} ${generated}/shader_list_cpu.cpp)
    # Shaders read memory through pointers of other types, take char as signed, and round after every operation.
    target_compile_options(${name}_cpu PRIVATE -fno-strict-aliasing -fsigned-char -ffp-contract=off)
    target_include_directories(${name}_cpu PUBLIC ${FASTGO_CSRC} ${FASTGO_CSRC}/softmetal ${FASTGO_COMPAT})
    configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/shader_list_cuda.cpp.in ${generated}/shader_list_cuda.cpp @ONLY)
    add_library(${name}_cuda OBJECT ${texts} ${generated}/shader_list_cuda.cpp)
    target_include_directories(${name}_cuda PUBLIC ${FASTGO_CSRC})
  endif()
endfunction()
