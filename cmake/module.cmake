# One CMake target per folder of src/: lora_module(NAME SOURCES ... DEPS ...).
# -ffp-contract=off: a multiply and an add are fused only where the code says so,
# which is what makes results equal across compilers and code paths.
add_library(lora_flags INTERFACE)
target_compile_options(lora_flags INTERFACE -Wall -Wextra -Wshadow -Wno-psabi -ffp-contract=off)
if(LORA_WERROR)
  target_compile_options(lora_flags INTERFACE -Werror)
endif()
# GCC goes through all it holds, the precompiled headers too, each time it has grown by as much again as this many KiB at
# least. A tenth of what the sources with the most templates take, for at most 100 MB more.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lora_flags INTERFACE "SHELL:--param ggc-min-heapsize=524288")
endif()
# 1 where a test's time and memory are not the program's own: under a sanitizer, or on an emulated processor.
set(instrumented 0)
if(LORA_SANITIZE OR CMAKE_CROSSCOMPILING)
  set(instrumented 1)
endif()
if(LORA_SANITIZE)
  target_compile_options(lora_flags INTERFACE -fsanitize=${LORA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(lora_flags INTERFACE -fsanitize=${LORA_SANITIZE})
endif()

# Headers that most sources include are read once for all (precompiled): a third of what compiling would take. A compiler
# cache would not cache what uses them, and needs them less. They are of use only where flags agree, so that there is
# a set per kind of target, and one for a module whose sources share more. nlohmann/json.hpp costs each source a quarter of
# a second more, used or not.
set(common_headers <algorithm> <atomic> <condition_variable> <functional> <map> <memory> <mutex> <optional> <set> <span>
  <string> <thread> <variant> <vector> <fmt/format.h>)
set(precompile ON)
if(CMAKE_CXX_COMPILER_LAUNCHER OR LORA_SANITIZE)
  set(precompile OFF)
endif()
# lora_module_headers(NAME HEADERS...): common_headers and HEADERS, for the PCH of lora_module().
function(lora_module_headers name)
  if(precompile)
    add_library(${name} OBJECT ${PROJECT_SOURCE_DIR}/cmake/headers.cc)
    target_link_libraries(${name} PRIVATE lora_flags fmt::fmt)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_precompile_headers(${name} PRIVATE ${common_headers} ${ARGN})
  endif()
endfunction()
lora_module_headers(module_headers)
lora_module_headers(module_json_headers <nlohmann/json.hpp>)
lora_module_headers(module_model_headers ${PROJECT_SOURCE_DIR}/src/model/model.h)

set_property(GLOBAL PROPERTY LORA_MODULES "")

# OPTIONS are compiler options of its own in a release build. PCH is the set of precompiled headers, if not
# module_headers; HEADERS make one of its own.
function(lora_module name)
  cmake_parse_arguments(arg "" "PCH" "SOURCES;DEPS;PRIVATE_DEPS;OPTIONS;HEADERS" ${ARGN})
  add_library(lora_${name} STATIC ${arg_SOURCES})
  target_include_directories(lora_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(lora_${name} PUBLIC lora_flags ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  if(arg_OPTIONS)
    target_compile_options(lora_${name} PRIVATE "$<$<CONFIG:Release>:${arg_OPTIONS}>")
  endif()
  if(NOT arg_PCH)
    set(arg_PCH module_headers)
  endif()
  if(precompile AND arg_HEADERS)
    target_precompile_headers(lora_${name} PRIVATE ${common_headers} ${arg_HEADERS})
  elseif(precompile)
    target_precompile_headers(lora_${name} REUSE_FROM ${arg_PCH})
  endif()
  set_property(GLOBAL APPEND PROPERTY LORA_MODULES lora_${name})
endfunction()

# lora_time_limit(SECONDS TEST...): how long a test may run; ten times as long where it is instrumented.
function(lora_time_limit seconds)
  if(instrumented)
    math(EXPR seconds "10 * ${seconds}")
  endif()
  set_tests_properties(${ARGN} PROPERTIES TIMEOUT ${seconds})
endfunction()

# What the compiling of tests is told. It takes about half of a build's time, and what most of them run is the program's
# code: these are not optimized at all (LEVEL O0), which under sanitizers saves half. O1 is for what computes.
function(lora_test_options name level)
  # GCC 12 sees overruns in std::string at -O1 that are none.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-${level}> $<$<CONFIG:Release>:-Wno-array-bounds>)
endfunction()

function(lora_test_settings name level)
  target_link_libraries(${name} PRIVATE fmt::fmt GTest::gtest GTest::gmock)
  lora_test_options(${name} ${level})
  target_compile_definitions(${name} PRIVATE
    LORA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LORA_SHARED_DIR="${PROJECT_SOURCE_DIR}/../shared"
    LORA_PROGRAM="$<TARGET_FILE:lora>" LORA_INSTRUMENTED=${instrumented})
endfunction()

# lora_test_headers(NAME LEVEL HEADERS...): a set of precompiled headers for tests, for the PCH of lora_test().
function(lora_test_headers name level)
  if(LORA_TESTS AND precompile)
    add_executable(${name} ${PROJECT_SOURCE_DIR}/cmake/headers.cc)  # as tests are compiled: -fPIE
    target_link_libraries(${name} PRIVATE lora_flags)
    lora_test_settings(${name} ${level})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_precompile_headers(${name} PRIVATE ${common_headers} <filesystem> <fstream> <gmock/gmock.h> ${ARGN})
  endif()
endfunction()
lora_test_headers(test_headers O0)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  lora_test_headers(optimized_test_headers O1)
endif()
lora_test_headers(test_json_headers O0 <nlohmann/json.hpp>)

# lora_test(NAME SOURCES ... DEPS ... LABELS ... [TIMEOUT s] [OPTIMIZED] [PCH SET] [ISAS ...]): a GoogleTest program; OPTIMIZED where it
# computes much itself, as those labelled per_isa do.
# With the label per_isa the whole program runs once per kernel set, through LORA_ISA;
# a set this CPU lacks is reported as skipped (exit status 77 of tests/isa_supported). ISAS are others than all of them;
# `best` is the one that this CPU gets.
# The label `parser` is for what reads foreign bytes; the target parser_tests builds those programs.
set(LORA_ISAS scalar avx2 avx512 amx neon)
add_custom_target(parser_tests)
function(lora_test name)
  if(NOT LORA_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "OPTIMIZED" "TIMEOUT;PCH" "SOURCES;DEPS;LABELS;ISAS" ${ARGN})
  if(NOT arg_ISAS)
    set(arg_ISAS ${LORA_ISAS})
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set(level O0)
  if(arg_OPTIMIZED OR "per_isa" IN_LIST arg_LABELS)
    set(level O1)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gtest_main)
  if("parser" IN_LIST arg_LABELS)
    add_dependencies(parser_tests ${name})
  endif()
  lora_test_settings(${name} ${level})
  if(NOT arg_PCH)
    set(arg_PCH test_headers)
    if(level STREQUAL "O1" AND CMAKE_BUILD_TYPE STREQUAL "Release")
      set(arg_PCH optimized_test_headers)
    elseif("nlohmann_json::nlohmann_json" IN_LIST arg_DEPS)
      set(arg_PCH test_json_headers)
    endif()
  endif()
  if(precompile)
    target_precompile_headers(${name} REUSE_FROM ${arg_PCH})
  endif()
  if("per_isa" IN_LIST arg_LABELS)
    foreach(isa ${arg_ISAS})
      add_test(NAME ${name}.${isa} COMMAND ${name})
      set_tests_properties(${name}.${isa} PROPERTIES LABELS "${arg_LABELS}"
        SKIP_REGULAR_EXPRESSION "not supported by this CPU or build")
      if(NOT isa STREQUAL "best")
        set_tests_properties(${name}.${isa} PROPERTIES ENVIRONMENT LORA_ISA=${isa})
      endif()
      lora_time_limit(${arg_TIMEOUT} ${name}.${isa})
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}")
    lora_time_limit(${arg_TIMEOUT} ${name})
  endif()
endfunction()

# lora_bench(NAME SOURCES ... DEPS ...): a Google Benchmark program, run by `make bench`.
if(LORA_BENCH)
  add_library(bench_main STATIC ${PROJECT_SOURCE_DIR}/bench/main.cc)
  target_link_libraries(bench_main PUBLIC lora_flags benchmark::benchmark)
endif()
function(lora_bench name)
  if(NOT LORA_BENCH)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} bench_main)
  set_property(GLOBAL APPEND PROPERTY LORA_BENCHES ${name})
endfunction()
