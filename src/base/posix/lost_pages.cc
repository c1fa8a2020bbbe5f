#include "base/lost_pages.h"

#include <signal.h>
#include <sys/mman.h>

#include <cerrno>

namespace lora {
namespace {

void on_bus_error(int number, siginfo_t* info, void*) {
  const int saved_errno = errno;
  if (info->si_code <= 0 || !lose_mapping_at(reinterpret_cast<uintptr_t>(info->si_addr))) {
    signal(number, SIG_DFL);                // the same instruction faults again, with its own address
    if (info->si_code <= 0) raise(number);  // sent by somebody: nothing faults
  }
  errno = saved_errno;
}

}  // namespace

bool put_zeros(uintptr_t begin, uintptr_t end) {
  // Not on POSIX's list of safe functions, but a bare system call.
  return mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

void catch_page_errors() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace lora
