// Files as the rest of the program sees them: a read-only mapping, and a write that either
// happens whole or not at all. Operating-system calls live in base/posix/ and base/windows/ alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/leftover.h"
#include "base/output.h"
#include "base/system_file.h"

namespace lora {

// A whole file mapped read-only; pages are read when touched and shared with other processes.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error "PATH: cannot open: REASON" for a missing file, a folder, or no permission.
  // An empty file maps to an empty span.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }
  // Takes the pages of a part of bytes() out of this process's memory until they are touched again.
  static void release(std::span<const std::byte> part);
  // And out of the system's, as far as no other process has them mapped.
  void give_back(std::span<const std::byte> part) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes a temporary file beside the target (base/output.h), then commit() flushes it to disk and renames it
// over the target. Destroyed without commit(), it removes the temporary file. The target is held until then:
// another process's is an Error. A file that is replaced gives its permissions, and where that is allowed its
// owner, to the new one; through a link the file is replaced that it names. All errors throw Error naming the
// target.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  uint64_t position() const { return position_; }
  // Writes at a place of its own, behind what write() has written; holes hold zeros. Threads may call it at
  // once.
  void write_at(uint64_t position, const void* data, size_t size);
  // What is written is on the disk when it returns, not under the target's name yet.
  void sync();
  void commit();

 private:
  std::string path_;  // as it was given
  Hold hold_;
  std::string target_, temporary_;
  Leftover leftover_;
  SystemFile file_;
  uint64_t position_ = 0;
  std::string buffered_;
  void flush();
};

// A folder, made if it is not there. Destroyed without keep(), one that was made is removed again, if it is
// empty. Error naming the path.
class NewFolder {
 public:
  explicit NewFolder(std::string path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  void keep();

 private:
  std::string made_;  // "": none
  Leftover leftover_;
};

// Text lines appended one at a time and flushed, for logs that others read while they grow. Through a link
// the file grows that it names; a pipe or a device is an Error.
class AppendFile {
 public:
  AppendFile() = default;
  // What the file holds already stays as far as its first lines satisfy `keep`; the rest is cut.
  AppendFile(std::string path, const std::function<bool(std::string_view line)>& keep);
  bool is_open() const { return file_.is_open(); }
  bool is_empty() const { return size_ == 0; }
  // Error if it cannot be written; then the file ends with the line before.
  void write_line(std::string_view line);
  // On the disk when it returns, as far as that is possible.
  void sync();

 private:
  std::string path_;
  SystemFile file_;
  size_t size_ = 0;
};

// Bytes per second that the disk gives of a file, from all over it, in about a second. nullopt: cannot tell.
std::optional<double> disk_read_rate(const std::string& path);

bool file_exists(const std::string& path);
// Names of the files in a folder, in the order of their bytes. Error naming the path if it is no folder.
std::vector<std::string> files_in(const std::string& folder);
bool is_directory(const std::string& path);

// What lies below a folder, at any depth, in the order of the paths' bytes. Left out and counted are what is
// hidden (.NAME), folders that are links, and what is neither file nor folder.
struct FilesBelow {
  std::vector<std::string> files;  // each with the folder before it
  int64_t n_hidden = 0, n_others = 0;
};
// Error naming the folder that cannot be read.
FilesBelow files_below(const std::string& folder);

}  // namespace lora
