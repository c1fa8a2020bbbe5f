// What Linux lets this process have of the machine's memory and processors: /proc/meminfo, and the limits of
// every control group that the process is in, of version 1 and 2, from its own group up to the topmost one it
// can see (docs.kernel.org/admin-guide/cgroup-v1/memory.html, cgroup-v2.html; man 5 proc).
//
// root: "" for the files of this system, or a folder with files of the same names below it, as tests have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lora {

// Bytes that could be used before the system swaps or a group reaches its limit. Page cache that the system
// can drop counts as free. nullopt: cannot tell, since neither the machine's memory nor a limit can be read.
std::optional<uint64_t> free_memory(const std::string& root = "");

// Processors' worth of time that the tightest quota allows; nullopt: there is none.
std::optional<double> cpu_quota(const std::string& root = "");

// The number that a file of /proc or /sys begins with; nullopt where it is "max" or cannot be read.
std::optional<uint64_t> first_number(const std::string& path);

// A "Name:   123 kB" line of a file, in bytes; nullopt if it is not there.
std::optional<uint64_t> kilobyte_field(const std::string& path, const std::string& name);

}  // namespace lora
