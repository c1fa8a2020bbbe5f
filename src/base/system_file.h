// Files as the system has them, and the paths to them: what the rest of base/ is made of, with one
// implementation per system (posix/, windows/). Calls return what went wrong: its message is the reason as
// people are told it, and it compares with std::errc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace lora {

using FileNumber = std::pair<uint64_t, uint64_t>;  // of its disk, and there; the same under all of its names

enum class FileType { regular, folder, link, other };

struct FileFacts {
  FileType type = FileType::other;
  uint64_t bytes = 0;
  FileNumber number;
  uint64_t n_names = 0;  // 0: it is just being removed
};

enum class Links { followed, themselves };

std::error_code facts_of(const std::string& path, Links links, FileFacts& facts);
// Whether what has the name, be it a link, is of the user whose process this is.
bool is_own(const std::string& path);

class SystemFile {
 public:
  SystemFile() = default;
  ~SystemFile();
  SystemFile(SystemFile&& other) noexcept : handle_(std::exchange(other.handle_, kNone)) {}
  SystemFile& operator=(SystemFile&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  // Of one that is closed. A pipe is not waited for, whoever is to be at its other end.
  std::error_code open(const std::string& path);  // to be read
  // To be read from the disk itself, past what memory holds of it, in whole pages of file and memory. An
  // error where the file system has no such thing.
  std::error_code open_uncached(const std::string& path);
  // A new one, to be written; errc::file_exists where something has the name. Nobody sees more of it on the
  // way than of the file that it is to replace ("": none), whose permissions and, where that is allowed,
  // owner it gets.
  std::error_code create(const std::string& path, const std::string& replaced);
  // To be read and written; made where it is not there. A link is not followed: an error.
  std::error_code open_or_create(const std::string& path);
  // The same for a lock that other users may find; theirs is opened to be read.
  std::error_code open_lock(const std::string& path);
  std::error_code close();
  bool is_open() const { return handle_ != kNone; }

  std::error_code facts(FileFacts& facts) const;
  // `n` is how much of it was done, which may be less. errc::bad_address: data cannot be read.
  std::error_code read_at(uint64_t position, void* data, size_t size, size_t& n) const;
  std::error_code write_at(uint64_t position, const void* data, size_t size, size_t& n);
  std::error_code truncate(uint64_t size);
  std::error_code sync();  // on the disk when it returns
  // For as long as it is open; errc::operation_would_block while another has it. Others can still read it.
  std::error_code try_lock();
  // Its first bytes, read-only, until unmap(), whether it stays open or not.
  std::error_code map(size_t size, const void*& data) const;

 private:
  static constexpr intptr_t kNone = -1;
  intptr_t handle_ = kNone;
};

void unmap(const void* data, size_t size);
size_t page_bytes();
// What lies there is not needed in memory for now. Whole pages within it are given back.
void drop_pages(const void* data, size_t size);
// Reads what of a mapped file lies there, as far as the system can, and is back when it is there. What cannot
// be read is nobody's error yet: whoever touches it will know.
void fetch_pages(const void* data, size_t size);
// Has it read, and does not wait.
void ask_for_pages(const void* data, size_t size);
// What of a file is mapped there will not be needed for long: its memory is free again, but where another
// process has it mapped, too.
void give_back_pages(const std::string& path, uint64_t position, const void* data, size_t size);

// Over what has the second name; on the disk when it returns.
std::error_code rename_over(const std::string& from, const std::string& to);
std::error_code remove_name(const std::string& path);
// Only an empty one.
std::error_code remove_folder(const std::string& path);
// And those above it; is_new: it was not there.
std::error_code make_folders(const std::string& path, bool& is_new);
// What is in a folder, in no order.
std::error_code list_folder(const std::string& folder, std::vector<std::string>& names);
// Where a link leads to, relative to the folder that it lies in or absolute.
std::error_code read_link(const std::string& path, std::string& to);
std::error_code expect_writable(const std::string& path);
// Bytes of a name there.
size_t longest_name(const std::string& folder);

}  // namespace lora
