// A library that is wanted by a part of the program alone: the program starts without it, in less memory.
#pragma once

#include <string>

namespace lora {

// Loaded until the process ends, since libraries that keep state do not like to be unloaded.
class SharedLibrary {
 public:
  // name: of its file, as the loader finds it, "libfoo.so.2". Error "NAME: cannot be loaded: REASON".
  explicit SharedLibrary(std::string name);

  // A function by its C name; F is its type. Error naming library and function where it has none such.
  template <class F>
  F* function(const char* symbol) const {
    return reinterpret_cast<F*>(address(symbol));
  }

 private:
  void* address(const char* symbol) const;

  std::string name_;
  void* handle_;
};

}  // namespace lora
