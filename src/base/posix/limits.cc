#include "base/posix/limits.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace lora {
namespace {

// Version 1 has a hierarchy of its own for each controller, version 2 one for all.
struct Hierarchy {
  const char* controller;  // "": version 2
  // Where it is mounted by convention, for systems whose list of mounts says nothing of it.
  std::vector<const char*> usual_folders;
};
const Hierarchy& memory_v1() {
  static const Hierarchy h = {"memory", {"/sys/fs/cgroup/memory"}};
  return h;
}
const Hierarchy& cpu_v1() {
  static const Hierarchy h = {"cpu", {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}};
  return h;
}
const Hierarchy& unified() {
  static const Hierarchy h = {"", {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}};
  return h;
}

bool holds(std::string_view comma_list, std::string_view item) {
  while (!comma_list.empty()) {
    const size_t end = std::min(comma_list.find(','), comma_list.size());
    if (comma_list.substr(0, end) == item) return true;
    comma_list.remove_prefix(std::min(end + 1, comma_list.size()));
  }
  return false;
}

// Undoes the \040 of mountinfo.
std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t k) {
      return i + k < text.size() && text[i + k] >= '0' && text[i + k] <= '7';
    };
    if (text[i] == '\\' && digit(1) && digit(2) && digit(3)) {
      result += char((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// The process's group in the hierarchy, "/docker/4a…": a line "ID:CONTROLLERS:PATH" of /proc/self/cgroup.
std::optional<std::string> group_path(const std::string& root, std::string_view controller) {
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : holds(controllers, controller))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

struct Mount {
  std::string group;   // that it shows at its top
  std::string folder;  // where it is
};

// Lines of /proc/self/mountinfo: ID PARENT DEVICE ROOT FOLDER OPTIONS… - TYPE SOURCE SUPER_OPTIONS
std::vector<Mount> mounts(const std::string& root, std::string_view controller) {
  std::vector<Mount> result;
  std::ifstream in(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::istringstream before(line), after(line.substr(dash + 3));
    std::string id, parent, device, group, folder, type, source, options;
    before >> id >> parent >> device >> group >> folder;
    after >> type >> source >> options;
    if (controller.empty() ? type == "cgroup2" : type == "cgroup" && holds(options, controller)) {
      result.push_back({unescaped(group), unescaped(folder)});
    }
  }
  return result;
}

// The part of `path` below the group `top`; "" where it does not lie below it, as in a namespace whose mounts
// show other groups: then the top of what is shown is all that is known.
std::string below(const std::string& path, const std::string& top) {
  if (!path.starts_with('/') || (path + "/").find("/../") != path.npos) return "";
  if (top == "/") return path == "/" ? "" : path;
  if (path.compare(0, top.size(), top) != 0) return "";
  return path.size() > top.size() && path[top.size()] == '/' ? path.substr(top.size()) : "";
}

// The folders of the process's group and of all groups above it; not each need exist.
std::vector<std::string> group_folders(const std::string& root, const Hierarchy& hierarchy) {
  std::vector<Mount> tops = mounts(root, hierarchy.controller);
  for (const char* folder : hierarchy.usual_folders) tops.push_back({"/", folder});
  // A system that has both names the group in the line of version 2 where version 1 has none.
  std::optional<std::string> path = group_path(root, hierarchy.controller);
  if (!path) path = group_path(root, "");
  std::vector<std::string> folders;
  for (const Mount& top : tops) {
    for (std::string rest = below(path.value_or("/"), top.group);; rest.resize(rest.rfind('/'))) {
      folders.push_back(root + top.folder + rest);
      if (rest.empty()) break;
    }
  }
  return folders;
}

// The sum of some of the "NAME NUMBER" lines of memory.stat, each of which may be missing.
uint64_t sum_of(const std::string& path, std::initializer_list<std::string_view> names) {
  std::ifstream in(path);
  uint64_t sum = 0, value = 0;
  for (std::string name; in >> name >> value;) {
    if (std::ranges::find(names, name) != names.end()) sum += value;
  }
  return sum;
}

void tighten(std::optional<uint64_t>& least, std::optional<uint64_t> value) {
  if (value && (!least || *value < *least)) least = value;
}

// What is left of a group's limit when the page cache is dropped; the limit itself where its use is not told.
uint64_t room(uint64_t limit, std::optional<uint64_t> used, uint64_t cache) {
  const uint64_t kept = used.value_or(0) - std::min(used.value_or(0), cache);
  return limit - std::min(limit, kept);
}

}  // namespace

std::optional<uint64_t> first_number(const std::string& path) {
  std::ifstream in(path);
  uint64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

std::optional<uint64_t> kilobyte_field(const std::string& path, const std::string& name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    std::istringstream number(line.substr(name.size()));
    uint64_t kilobytes = 0;
    if (number >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

std::optional<uint64_t> free_memory(const std::string& root) {
  std::optional<uint64_t> least = kilobyte_field(root + "/proc/meminfo", "MemAvailable:");
  for (const std::string& folder : group_folders(root, unified())) {
    std::optional<uint64_t> limit = first_number(folder + "/memory.max");
    tighten(limit, first_number(folder + "/memory.high"));  // beyond it a group is slowed down to a crawl
    if (!limit) continue;
    const uint64_t cache =
        sum_of(folder + "/memory.stat", {"inactive_file", "active_file", "slab_reclaimable"});
    tighten(least, room(*limit, first_number(folder + "/memory.current"), cache));
  }
  for (const std::string& folder : group_folders(root, memory_v1())) {
    constexpr uint64_t kNoLimit = uint64_t{1} << 62;  // version 1 writes the largest multiple of a page
    std::optional<uint64_t> limit = first_number(folder + "/memory.limit_in_bytes");
    // Of the groups above, which a container may not see.
    if (const uint64_t above = sum_of(folder + "/memory.stat", {"hierarchical_memory_limit"}))
      tighten(limit, above);
    if (!limit || *limit >= kNoLimit) continue;
    const uint64_t cache =
        std::max(sum_of(folder + "/memory.stat", {"total_inactive_file", "total_active_file"}),
                 sum_of(folder + "/memory.stat", {"inactive_file", "active_file"}));
    tighten(least, room(*limit, first_number(folder + "/memory.usage_in_bytes"), cache));
  }
  return least;
}

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> least;
  const auto add = [&](double quota, double period) {
    if (quota > 0 && period > 0) least = std::min(least.value_or(quota / period), quota / period);
  };
  for (const std::string& folder : group_folders(root, unified())) {
    std::ifstream in(folder + "/cpu.max");  // "max 100000": none
    double quota = 0, period = 0;
    if (in >> quota >> period) add(quota, period);
  }
  for (const std::string& folder : group_folders(root, cpu_v1())) {
    std::ifstream quota_in(folder + "/cpu.cfs_quota_us"), period_in(folder + "/cpu.cfs_period_us");
    double quota = 0, period = 0;  // -1: none
    if (quota_in >> quota && period_in >> period) add(quota, period);
  }
  return least;
}

}  // namespace lora
