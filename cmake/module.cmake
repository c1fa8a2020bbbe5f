# One CMake target per folder of src/: lora_module(NAME SOURCES ... DEPS ...).
# -ffp-contract=off: a multiply and an add are fused only where the code says so,
# which is what makes results equal across compilers and code paths.
add_library(lora_flags INTERFACE)
target_compile_options(lora_flags INTERFACE -Wall -Wextra -Wshadow -Wno-psabi -ffp-contract=off)
if(LORA_WERROR)
  target_compile_options(lora_flags INTERFACE -Werror)
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
# a set per kind of target. nlohmann/json.hpp costs each source a quarter of a second more, used or not.
set(common_headers <algorithm> <atomic> <condition_variable> <functional> <map> <memory> <mutex> <optional> <set> <span>
  <string> <thread> <variant> <vector> <fmt/format.h>)
set(precompile ON)
if(CMAKE_CXX_COMPILER_LAUNCHER OR LORA_SANITIZE)
  set(precompile OFF)
endif()
if(precompile)
  add_library(module_headers OBJECT ${CMAKE_CURRENT_LIST_DIR}/headers.cc)
  target_link_libraries(module_headers PRIVATE lora_flags fmt::fmt)
  target_precompile_headers(module_headers PRIVATE ${common_headers})
endif()

set_property(GLOBAL PROPERTY LORA_MODULES "")

# OPTIONS are compiler options of its own in a release build.
function(lora_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PRIVATE_DEPS;OPTIONS" ${ARGN})
  add_library(lora_${name} STATIC ${arg_SOURCES})
  target_include_directories(lora_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(lora_${name} PUBLIC lora_flags ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  if(arg_OPTIONS)
    target_compile_options(lora_${name} PRIVATE "$<$<CONFIG:Release>:${arg_OPTIONS}>")
  endif()
  if(precompile AND arg_OPTIONS)
    target_precompile_headers(lora_${name} PRIVATE ${common_headers})
  elseif(precompile)
    target_precompile_headers(lora_${name} REUSE_FROM module_headers)
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

# What the compiling of tests is told. It takes about half of a build's time and hardly any of the tests', so they are
# not optimized as the program is.
function(lora_test_options name)
  # GCC 12 sees overruns in std::string at -O1 that are none.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1> $<$<CONFIG:Release>:-Wno-array-bounds>)
endfunction()

function(lora_test_settings name)
  target_link_libraries(${name} PRIVATE fmt::fmt GTest::gtest GTest::gmock)
  lora_test_options(${name})
  target_compile_definitions(${name} PRIVATE
    LORA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LORA_SHARED_DIR="${PROJECT_SOURCE_DIR}/../shared"
    LORA_PROGRAM="$<TARGET_FILE:lora>" LORA_INSTRUMENTED=${instrumented})
endfunction()

# test_json_headers are for the tests that have nlohmann_json::nlohmann_json among their DEPS.
if(LORA_TESTS AND precompile)
  foreach(headers test_headers test_json_headers)
    add_executable(${headers} ${CMAKE_CURRENT_LIST_DIR}/headers.cc)  # as tests are compiled: -fPIE
    target_link_libraries(${headers} PRIVATE lora_flags)
    lora_test_settings(${headers})
    target_precompile_headers(${headers} PRIVATE ${common_headers} <filesystem> <fstream> <gmock/gmock.h>)
  endforeach()
  target_link_libraries(test_json_headers PRIVATE nlohmann_json::nlohmann_json)
  target_precompile_headers(test_json_headers PRIVATE <nlohmann/json.hpp>)
endif()

# lora_test(NAME SOURCES ... DEPS ... LABELS ... [TIMEOUT s]): a GoogleTest program.
# With the label per_isa the whole program runs once per kernel set, through LORA_ISA;
# a set this CPU lacks is reported as skipped (exit status 77 of tests/isa_supported).
# The label `parser` is for what reads foreign bytes; the target parser_tests builds those programs.
set(LORA_ISAS scalar avx2 avx512 amx neon)
add_custom_target(parser_tests)
function(lora_test name)
  if(NOT LORA_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gtest_main)
  if("parser" IN_LIST arg_LABELS)
    add_dependencies(parser_tests ${name})
  endif()
  lora_test_settings(${name})
  if(precompile AND "nlohmann_json::nlohmann_json" IN_LIST arg_DEPS)
    target_precompile_headers(${name} REUSE_FROM test_json_headers)
  elseif(precompile)
    target_precompile_headers(${name} REUSE_FROM test_headers)
  endif()
  if("per_isa" IN_LIST arg_LABELS)
    foreach(isa ${LORA_ISAS})
      add_test(NAME ${name}.${isa} COMMAND ${name})
      set_tests_properties(${name}.${isa} PROPERTIES LABELS "${arg_LABELS}"
        ENVIRONMENT LORA_ISA=${isa} SKIP_REGULAR_EXPRESSION "not supported by this CPU or build")
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
