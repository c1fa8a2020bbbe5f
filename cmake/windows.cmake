# Builds lora.exe on another system, with what scripts/windows-root.sh lays out. `make windows`.
# The compiler is clang: GCC does not align the stack as vectors of 32 bytes want it on Windows (GCC's bug 54412), which
# src/kernels/stack_test.cc shows. Headers, C++ library and start-up code are mingw-w64's GCC's, linked statically.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(LORA_WINDOWS_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build-windows-root CACHE PATH "what scripts/windows-root.sh made")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LORA_WINDOWS_ROOT)

set(CMAKE_SYSROOT ${LORA_WINDOWS_ROOT})
set(CMAKE_C_COMPILER clang)
set(CMAKE_CXX_COMPILER clang++)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(CMAKE_C_COMPILER_TARGET x86_64-w64-mingw32)
set(CMAKE_CXX_COMPILER_TARGET x86_64-w64-mingw32)
# Variables of a thread as the C++ library has them, and the libraries' functions as those of archives.
set(flags "-femulated-tls -DPCRE2_STATIC -DUTF8PROC_STATIC -DZIP_STATIC")
set(CMAKE_C_FLAGS_INIT ${flags})
set(CMAKE_CXX_FLAGS_INIT ${flags})
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld -static -pthread")
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../scripts/wine.sh)

set(CMAKE_FIND_ROOT_PATH ${LORA_WINDOWS_ROOT}/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
foreach(kind LIBRARY INCLUDE PACKAGE)
  set(CMAKE_FIND_ROOT_PATH_MODE_${kind} ONLY)
endforeach()
set(PKG_CONFIG_ARGN --static)
set(ENV{PKG_CONFIG_LIBDIR} ${LORA_WINDOWS_ROOT}/lib/pkgconfig)
