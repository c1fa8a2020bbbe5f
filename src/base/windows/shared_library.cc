#include "base/shared_library.h"

#include <utility>

#include "base/error.h"
#include "base/windows/wide.h"

namespace lora {

// Not from the folder that the program happens to run in.
SharedLibrary::SharedLibrary(std::string name)
    : name_(std::move(name)),
      handle_(LoadLibraryExW(wide(name_).c_str(), nullptr, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS)) {
  if (!handle_) fail("{}: cannot be loaded: {}", name_, windows_error().message());
}

void* SharedLibrary::address(const char* symbol) const {
  void* const found = reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), symbol));
  if (!found) fail("{}: has no function {}", name_, symbol);
  return found;
}

}  // namespace lora
