# One CMake target per folder of src/: lora_module(NAME SOURCES ... DEPS ...).
# -ffp-contract=off: a multiply and an add are fused only where the code says so,
# which is what makes results equal across compilers and code paths.
add_library(lora_flags INTERFACE)
target_compile_options(lora_flags INTERFACE -Wall -Wextra -Wshadow -Wno-psabi -ffp-contract=off)
if(WIN32)  # of Windows 10; its headers without macros called min and max
  target_compile_definitions(lora_flags INTERFACE _WIN32_WINNT=0x0A00 WIN32_LEAN_AND_MEAN NOMINMAX UNICODE)
endif()
if(LORA_WERROR)
  target_compile_options(lora_flags INTERFACE -Werror)
else()  # `dev` holds formats to what is given them while it compiles, which takes a tenth of that; others while they run
  target_compile_definitions(lora_flags INTERFACE FMT_CONSTEVAL=)
endif()
# GCC goes through all it holds, each time it has grown by as much again as this many KiB at
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

# Most of what a source costs is its headers, and what it makes of their templates: sources of one target are therefore
# compiled together, which saves a third of a build and more. LORA_UNITY=OFF, as in the preset `dev`, compiles each alone.
option(LORA_UNITY "compile several sources of a target at a time" ON)
set(unity_batch 20)
# lora_unity(TARGET ALONE...): ALONE are the sources that no other may be compiled with.
function(lora_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${LORA_UNITY} UNITY_BUILD_BATCH_SIZE ${unity_batch})
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  # GCC takes the sources for headers, in which that would be a fault; `dev` shows it where it is one.
  if(LORA_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

set_property(GLOBAL PROPERTY LORA_MODULES "")

# COLD is a module that computes little itself: a release build compiles it at -O1, which takes two thirds of -O3's time
# and makes no command slower. ALONE are sources that no other may be compiled with; HEADERS are what these share, read
# once for all in a release build (precompiled).
function(lora_module name)
  cmake_parse_arguments(arg "COLD" "" "SOURCES;ALONE;HEADERS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(lora_${name} STATIC ${arg_SOURCES} ${arg_ALONE})
  target_include_directories(lora_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(lora_${name} PUBLIC lora_flags ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  if(arg_COLD)  # GCC 12 sees overruns in std::string at -O1 that are none
    target_compile_options(lora_${name} PRIVATE "$<$<CONFIG:Release>:-O1;-Wno-array-bounds>")
  endif()
  lora_unity(lora_${name} ${arg_ALONE})
  # A compiler cache would not cache what uses them. GCC 12 keeps __OPTIMIZE__ defined behind fmt/format.h, which optimizes
  # itself in a debug build: intrinsics then take the form that only an optimizing compiler can compile.
  if(arg_HEADERS AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(lora_${name} PRIVATE ${arg_HEADERS})
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
  # -Wno-array-bounds: as for a module that is COLD.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-${level}> $<$<CONFIG:Release>:-Wno-array-bounds>)
  # Comparing std::type_info is a function of GCC's library on Windows. GCC knows that there, clang has to be told: it
  # makes one more where it does not optimize, and two are one too many for the linker.
  if(MINGW AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_definitions(${name} PRIVATE __GXX_TYPEINFO_EQUALITY_INLINE=0)
  endif()
endfunction()

# Under Wine the files of this system are those of a drive, which a path has to name: a program that a test starts in its
# temporary folder runs on another.
set(test_root "")
if(WIN32 AND CMAKE_CROSSCOMPILING AND NOT CMAKE_HOST_WIN32)
  set(test_root "Z:")
endif()
function(lora_test_settings name level)
  target_link_libraries(${name} PRIVATE fmt::fmt GTest::gtest GTest::gmock)
  lora_test_options(${name} ${level})
  target_compile_definitions(${name} PRIVATE
    LORA_SOURCE_DIR="${test_root}${PROJECT_SOURCE_DIR}" LORA_SHARED_DIR="${test_root}${PROJECT_SOURCE_DIR}/../shared"
    LORA_PROGRAM="${test_root}$<TARGET_FILE:lora>" LORA_INSTRUMENTED=${instrumented})
endfunction()

# lora_test(NAME SOURCES ... DEPS ... LABELS ... [ALONE ...] [TIMEOUT s] [OPTIMIZED] [EACH] [ISAS ...]): a GoogleTest program;
# OPTIMIZED where it computes much itself, as those labelled per_isa do. ALONE are sources that no other may be compiled with.
# EACH: not one test, but one of each source, NAME.SOURCE without its _test.cc.
# With the label per_isa it runs once per kernel set, through LORA_ISA; a set this CPU lacks is reported as skipped
# (exit status 77 of tests/isa_supported). ISAS are others than all of them; `best` is the one that this CPU gets.
# The label `parser` is for what reads foreign bytes; the target parser_tests builds those programs.
set(LORA_ISAS scalar avx2 avx512 amx neon)
add_custom_target(parser_tests)
function(lora_test name)
  if(NOT LORA_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "OPTIMIZED;EACH" "TIMEOUT" "SOURCES;ALONE;DEPS;LABELS;ISAS" ${ARGN})
  set(level O0)
  if(arg_OPTIMIZED OR "per_isa" IN_LIST arg_LABELS)
    set(level O1)
  endif()
  add_executable(${name} ${arg_SOURCES} ${arg_ALONE})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gtest_main)
  lora_test_settings(${name} ${level})
  lora_unity(${name} ${arg_ALONE})
  if("parser" IN_LIST arg_LABELS)
    add_dependencies(parser_tests ${name})
  endif()
  if(NOT arg_EACH)
    lora_add_test(${name} COMMAND ${name} ${ARGN})
    return()
  endif()
  set(all_suites)
  foreach(source ${arg_SOURCES} ${arg_ALONE})
    lora_suites(suites filter ${source})
    foreach(suite ${suites})
      if(suite IN_LIST all_suites)
        message(FATAL_ERROR "${source}: another source of ${name} has a suite ${suite}")
      endif()
    endforeach()
    list(APPEND all_suites ${suites})
    if(suites)
      get_filename_component(stem ${source} NAME)
      string(REGEX REPLACE "_test\\.cc$" "" stem ${stem})
      lora_add_test(${name}.${stem} COMMAND ${name} --gtest_filter=${filter} ${ARGN})
    endif()
  endforeach()
endfunction()

# lora_suites(SUITES FILTER SOURCE): the names of SOURCE's suites, and a filter that chooses them.
function(lora_suites suites filter source)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(STRINGS ${source} others REGEX "^TYPED_TEST")
  if(others)
    message(FATAL_ERROR "${source}: EACH does not know TYPED_TEST, and would not run it")
  endif()
  file(STRINGS ${source} names REGEX "^TEST(_F|_P)?\\(")
  list(TRANSFORM names REPLACE "^TEST[_FP]*\\(([A-Za-z0-9_]+).*" "\\1")
  list(REMOVE_DUPLICATES names)
  set(${suites} ${names} PARENT_SCOPE)
  list(TRANSFORM names REPLACE "(.+)" "\\1.*:*/\\1.*")
  list(JOIN names ":" names)
  set(${filter} "${names}" PARENT_SCOPE)
endfunction()

# lora_add_test(NAME COMMAND ... LABELS ... [TIMEOUT s] [ISAS ...]): as of lora_test().
function(lora_add_test name)
  cmake_parse_arguments(arg "OPTIMIZED;EACH" "TIMEOUT" "COMMAND;LABELS;ISAS;SOURCES;ALONE;DEPS" ${ARGN})
  set(tests ${name})
  if("per_isa" IN_LIST arg_LABELS)
    if(NOT arg_ISAS)
      set(arg_ISAS ${LORA_ISAS})
    endif()
    list(TRANSFORM arg_ISAS PREPEND ${name}. OUTPUT_VARIABLE tests)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  foreach(test ${tests})
    add_test(NAME ${test} COMMAND ${arg_COMMAND})
    set_tests_properties(${test} PROPERTIES LABELS "${arg_LABELS}")
    lora_time_limit(${arg_TIMEOUT} ${test})
  endforeach()
  foreach(isa ${arg_ISAS})
    set_tests_properties(${name}.${isa} PROPERTIES SKIP_REGULAR_EXPRESSION "not supported by this CPU or build")
    if(NOT isa STREQUAL "best")
      set_tests_properties(${name}.${isa} PROPERTIES ENVIRONMENT LORA_ISA=${isa})
    endif()
  endforeach()
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
  # `make test` does not wait for them; a build that looks for warnings has them.
  set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL $<CONFIG:Release>)
  target_link_libraries(${name} PRIVATE ${arg_DEPS} bench_main)
  set_property(GLOBAL APPEND PROPERTY LORA_BENCHES ${name})
endfunction()
