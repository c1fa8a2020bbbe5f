#include "base/output.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/path.h"
#include "base/process.h"

namespace lora {
namespace {

constexpr std::string_view kLock = ".lora-lock", kTemporary = ".tmp";
constexpr size_t kDigits = 16;
constexpr size_t kLongestEnd = 1 + kDigits + kTemporary.size();

uint64_t random_number() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::string digits(uint64_t number) {
  return fmt::format("{:016x}", number);
}

bool are_digits(std::string_view text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// What the names beside a target begin with: the target's own, or of a long one as much as leaves room for an
// end, and its hash. Whole UTF-8 characters, which some file systems insist on.
std::string stem_of(const std::string& target) {
  const auto [folder, name] = split_path(target);
  const size_t room = std::max<size_t>(64, longest_name(folder_of(target))) - kLongestEnd;
  if (name.size() <= room) return target;
  size_t cut = room - 1 - kDigits;
  while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xC0) == 0x80) --cut;
  return folder + name.substr(0, cut) + "~" + digits(hash(name));
}

// This process, apart from those that have its number in another container.
std::string own_text() {
  static const uint64_t token = random_number();
  return fmt::format("{} {}\n", process_id(), digits(token));  // a forked process has the token, too
}

// "PID DIGITS\n", or nothing yet.
bool is_text_of_lock(std::string_view text) {
  const size_t space = text.find_first_not_of("0123456789");
  return text.empty() ||
         (space != text.npos && space > 0 && space < 20 && text[space] == ' ' && text.ends_with('\n') &&
          are_digits(text.substr(space + 1, text.size() - space - 2)));
}

std::string read_text(const SystemFile& file) {
  char text[64];
  size_t n = 0;
  if (file.read_at(0, text, sizeof text, n) || n == 0) return "";
  const std::string read(text, n);
  // After a power cut a file may have its length and zeros: as good as empty.
  return n < sizeof text && read.find_first_not_of('\0') == read.npos ? "" : read;
}

// Of a file that is locked; who has just taken it needs a moment to write it.
std::string read_holder(const SystemFile& file) {
  std::string text;
  for (int i = 0; i < 100 && (text = read_text(file)).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return text;
}

// Whether a name still leads to an open file. One that is just being removed may have its name and no link.
bool is_at(const SystemFile& file, const std::string& path, FileFacts& facts) {
  FileFacts there;
  return !file.facts(facts) && facts.n_names > 0 && !facts_of(path, Links::themselves, there) &&
         facts.number == there.number;
}

// Why no file could be opened that a lock can be.
bool is_no_file_at_all(const std::error_code& error) {
  return error == std::errc::too_many_symbolic_link_levels || error == std::errc::is_a_directory ||
         error == std::errc::no_such_device_or_address;
}

// Of a target whose lock is held: nobody writes them.
void remove_temporaries(const std::string& target) {
  const std::string folder = split_path(target).first, stem = split_path(stem_of(target)).second;
  std::vector<std::string> names;
  list_folder(folder_of(target), names);
  for (const std::string& name : names) {
    if (!name.ends_with(kTemporary) || target_of_leftover(name) != stem) continue;
    FileFacts facts;
    if (!facts_of(folder + name, Links::themselves, facts) && facts.type == FileType::regular &&
        facts.n_names == 1 && is_own(folder + name))
      remove_name(folder + name);
  }
}

}  // namespace

std::string output_target(const std::string& path) {
  const auto refuse = [&](const std::error_code& error, const char* more = "") {
    fail("{}: cannot write: {}{}", path, error.message(), more);
  };
  std::string target = path;
  FileFacts facts;
  for (int links = 0; !facts_of(target, Links::themselves, facts) && facts.type == FileType::link; ++links) {
    std::string to;
    if (const auto error = read_link(target, to)) refuse(error);
    if (links == 40) refuse(std::make_error_code(std::errc::too_many_symbolic_link_levels));
    target = root_size(to) > 0 ? to : split_path(target).first + to;
  }
  // By the first name: a link of /proc leads to what its text does not name.
  if (const auto error = facts_of(path, Links::followed, facts)) {
    if (error != std::errc::no_such_file_or_directory) refuse(error);
    return target;
  }
  if (facts.type != FileType::regular) {
    fail("{}: cannot write: {}", path, facts.type == FileType::folder ? "a folder" : "not a regular file");
  }
  if (target != path && facts_of(target, Links::themselves, facts))
    fail("{}: cannot write: it has no name", path);
  if (const auto error = expect_writable(target); error && error != std::errc::no_such_file_or_directory) {
    refuse(error, " (the file is write-protected)");
  }
  return target;
}

std::string temporary_name(const std::string& target) {
  return fmt::format("{}.{}{}", stem_of(target), digits(random_number()), kTemporary);
}

std::string target_of_leftover(std::string_view name) {
  if (name.ends_with(kLock)) return std::string(name.substr(0, name.size() - kLock.size()));
  if (name.size() <= kLongestEnd || !name.ends_with(kTemporary)) return "";
  const std::string_view target = name.substr(0, name.size() - kLongestEnd), end = name.substr(target.size());
  return end[0] == '.' && are_digits(end.substr(1, kDigits)) ? std::string(target) : "";
}

bool is_temporary_of(const std::string& target, const std::string& file) {
  const std::string name = split_path(file).second;
  return name.ends_with(kTemporary) && target_of_leftover(name) == split_path(stem_of(target)).second;
}

Hold::Hold(const std::string& path) : Hold(path, false) {}

Hold Hold::unless_ours(const std::string& path) {
  return {path, true};
}

Hold::Hold(const std::string& path, bool ours_will_do) {
  const SignalsWait no_signal_between;
  const std::string target = output_target(path);
  lock_ = stem_of(target) + std::string(kLock);
  const auto in_the_way = [&](std::string_view why) {
    fail("{}: cannot write: {} is in the way: {}", path, lock_, why);
  };
  for (int tries = 0; tries < 100; ++tries) {
    SystemFile file;
    if (const auto error = file.open_lock(lock_)) {
      if (is_no_file_at_all(error)) in_the_way("no lock file");
      fail("{}: cannot create: {}", path, error.message());
    }
    FileFacts facts;
    if (!is_at(file, lock_, facts)) continue;  // its holder has just removed it
    // Nothing is written to, or removed, that may be another file.
    if (facts.type != FileType::regular || facts.n_names != 1 || !is_text_of_lock(read_text(file))) {
      in_the_way("no lock file");
    }
    if (const auto error = file.try_lock()) {
      if (error != std::errc::operation_would_block) {
        warning_ = fmt::format("warning: {}: {}, so another process that writes it is not noticed", path,
                               error.message());
        if (is_own(lock_)) remove_name(lock_);
        return;
      }
      const std::string text = read_holder(file);
      if (ours_will_do && text == own_text()) return;
      fail("{}: cannot write: {} writes it ({}); wait for its end, or write to another name", path,
           text.empty() ? "another process" : "process " + text.substr(0, text.find(' ')), lock_);
    }
    if (!is_at(file, lock_, facts)) continue;
    if (!is_own(lock_)) {  // nobody's any more
      if (const auto error = remove_name(lock_))
        in_the_way(fmt::format("another user's, and {}", error.message()));
      continue;
    }
    const std::string text = own_text();
    size_t n = 0;
    std::error_code error = file.truncate(0);
    if (!error) error = file.write_at(0, text.data(), text.size(), n);
    if (error || n != text.size()) {
      remove_name(lock_);
      fail("{}: cannot write: {}", path, error.message());
    }
    leftover_ = Leftover(lock_);
    remove_temporaries(target);
    file_ = std::move(file);
    return;
  }
  in_the_way("it changes all the time");
}

Hold::~Hold() {
  if (!file_.is_open()) return;
  const SignalsWait no_signal_between;
  leftover_ = {};
  remove_name(lock_);  // before others can take it
  file_.close();
}

Hold::Hold(Hold&& other) noexcept
    : lock_(std::move(other.lock_)),
      warning_(std::move(other.warning_)),
      leftover_(std::move(other.leftover_)),
      file_(std::move(other.file_)) {}

Hold& Hold::operator=(Hold&& other) noexcept {
  std::swap(lock_, other.lock_);
  std::swap(warning_, other.warning_);
  std::swap(leftover_, other.leftover_);
  std::swap(file_, other.file_);
  return *this;
}

}  // namespace lora
