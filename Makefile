# Thin names for the presets of CMakePresets.json. `make help` lists them.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := build
.PHONY: help deps build test interop slow parsers asan tsan dev arm64 windows windows-test windows-dist fuzz demo bench format tidy install clean

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 23

deps:
	@scripts/install-deps.sh

build: deps  ## the program, at build/lora (what `make` alone does)
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS)

test: build  ## all tests but those labelled slow or interop
	@ctest --preset release -j $(JOBS)

interop: build  ## the tests against llama.cpp and other programs, which npm fetches
	@ctest --preset interop

slow: build  ## the tests labelled slow
	@ctest --preset slow

# The other presets, each in its own build folder, with the same tests.
dev asan tsan: deps
	@cmake --preset $@
	@cmake --build --preset $@ -j $(JOBS)
	@ctest --preset $@ -j $(JOBS)

dev:  ## debug build with warnings as errors, and its tests
asan:  ## the tests under the address and undefined-behaviour sanitizers
tsan:  ## the tests under the thread sanitizer

parsers: deps  ## the tests of what reads foreign bytes, under the address and undefined-behaviour sanitizers
	@cmake --preset asan
	@cmake --build --preset asan -j $(JOBS) --target parser_tests
	@ctest --preset asan -j $(JOBS) -L parser

arm64:  ## build for 64-bit ARM; its unit and golden tests, under QEMU
	@scripts/install-deps.sh arm64
	@scripts/arm64-root.sh build-arm64-root
	@cmake --preset arm64
	@cmake --build --preset arm64 -j $(JOBS)
	@ctest --preset arm64 -j $(JOBS)

windows:  ## lora.exe, at build-windows/lora.exe
	@scripts/install-deps.sh windows
	@scripts/windows-root.sh build-windows-root
	@cmake --preset windows -DLORA_TESTS=OFF
	@cmake --build --preset windows -j $(JOBS) --target lora

windows-test: windows  ## its tests, under Wine
	@scripts/windows-root.sh build-windows-root tests
	@cmake --preset windows -DLORA_TESTS=ON
	@cmake --build --preset windows -j $(JOBS)
	@ctest --preset windows -j $(JOBS)
	@scripts/check-skips.sh build-windows

windows-dist: windows  ## a zip of it for people who use Windows, in build-windows/
	@scripts/windows-dist.sh build-windows

fuzz:  ## each fuzz target for FUZZ_SECONDS (60), under libFuzzer and the sanitizers
	@scripts/install-deps.sh fuzz
	@cmake --preset fuzz -DLORA_FUZZ_SECONDS=$(FUZZ_SECONDS)
	@cmake --build --preset fuzz -j $(JOBS)

demo: deps  ## fine-tune the bundled model: some minutes to build the program, one to train
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target lora
	@scripts/demo.sh build/lora

bench: build  ## all benchmarks; results also in build/bench/
	@cmake --build --preset release --target bench

format:  ## clang-format, in place
	@scripts/install-deps.sh format
	@find src tests bench fuzz -name '*.h' -o -name '*.cc' | xargs -r clang-format -i

tidy:  ## clang-tidy over the sources, with the compile commands of the dev preset
	@scripts/install-deps.sh tidy
	@cmake --preset dev -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
	@run-clang-tidy -quiet -p build-dev "$(CURDIR)/src/"

install: build  ## program, library, header and CMake package below PREFIX (DESTDIR is honored)
	@cmake --install build --prefix "$(PREFIX)"

clean:  ## remove all build folders
	@rm -rf build build-dev build-asan build-tsan build-arm64 build-arm64-root build-windows build-windows-root build-fuzz
