#include "base/file.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/buffer.h"
#include "base/error.h"
#include "base/lost_pages.h"
#include "base/path.h"
#include "base/timing.h"

namespace lora {
namespace {

// What lies at `data` could not be written; that may be a file that cannot be read.
[[noreturn]] void fail_to_write(const std::string& name, const char* data, const std::error_code& error) {
  if (error == std::errc::bad_address) note_unreadable(data);
  expect_no_lost_pages();
  fail("{}: cannot write: {}", name, error.message());
}

void write_all(SystemFile& file, uint64_t position, const char* data, size_t size, const std::string& name) {
  for (size_t n; size > 0; data += n, position += n, size -= n) {
    if (const auto error = file.write_at(position, data, size, n)) fail_to_write(name, data, error);
  }
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  SystemFile file;
  const auto refuse = [&](std::string_view why) { fail("{}: cannot open: {}", path, why); };
  if (const auto error = file.open(path)) refuse(error.message());
  FileFacts facts;
  if (const auto error = file.facts(facts)) refuse(error.message());
  if (facts.type != FileType::regular) {
    refuse(facts.type == FileType::folder ? "a folder" : "not a regular file");
  }
  if (facts.bytes == 0) return;
  const void* data = nullptr;
  if (const auto error = file.map(facts.bytes, data)) refuse(error.message());
  data_ = static_cast<const std::byte*>(data);
  size_ = facts.bytes;
  begin_mapping(facts.number, data_, size_, path_);
}

MappedFile::~MappedFile() {
  if (!data_) return;
  end_mapping(data_);
  unmap(data_, size_);
}

void MappedFile::release(std::span<const std::byte> part) {
  drop_pages(part.data(), part.size());
}

void MappedFile::give_back(std::span<const std::byte> part) const {
  give_back_pages(path_, uint64_t(part.data() - data_), part.data(), part.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), hold_(Hold::unless_ours(path_)), target_(output_target(path_)) {
  std::error_code error;
  do {
    temporary_ = temporary_name(target_);
    leftover_ = Leftover(temporary_);
    error = file_.create(temporary_, target_);
  } while (error == std::errc::file_exists);
  if (error) fail("{}: cannot create: {}", path_, error.message());
}

AtomicFile::~AtomicFile() {
  if (!file_.is_open()) return;
  file_.close();
  remove_name(temporary_);
}

void AtomicFile::flush() {
  expect_no_lost_pages();
  write_all(file_, position_ - buffered_.size(), buffered_.data(), buffered_.size(), path_);
  buffered_.clear();
}

void AtomicFile::write(const void* data, size_t size) {
  constexpr size_t kBuffer = size_t{1} << 20;
  if (buffered_.size() + size > kBuffer) flush();
  if (size > kBuffer) {
    write_all(file_, position_, static_cast<const char*>(data), size, path_);
  } else {
    buffered_.append(static_cast<const char*>(data), size);
  }
  position_ += size;
}

void AtomicFile::write_at(uint64_t position, const void* data, size_t size) {
  expect_no_lost_pages();
  write_all(file_, position, static_cast<const char*>(data), size, path_);
}

void AtomicFile::sync() {
  flush();
  if (const auto error = file_.sync()) fail("{}: cannot flush to disk: {}", path_, error.message());
}

void AtomicFile::commit() {
  sync();
  look_for_cut_files();
  expect_no_lost_pages();  // else what is written may come of zeros
  std::error_code error = file_.close();
  if (!error) error = rename_over(temporary_, target_);
  if (error) {
    remove_name(temporary_);
    fail("{}: cannot write: {}", path_, error.message());
  }
  leftover_ = {};
  hold_ = {};
}

NewFolder::NewFolder(std::string path) {
  path = without_last_separators(std::move(path));
  const SignalsWait no_signal_between;
  bool is_new = false;
  if (const auto error = make_folders(path, is_new))
    fail("{}: cannot make the folder: {}", path, error.message());
  if (!is_new) return;
  made_ = std::move(path);
  leftover_ = Leftover(made_);
}

NewFolder::~NewFolder() {
  if (!made_.empty()) remove_folder(made_);
}

void NewFolder::keep() {
  made_.clear();
  leftover_ = {};
}

AppendFile::AppendFile(std::string path, const std::function<bool(std::string_view)>& keep)
    : path_(std::move(path)) {
  const std::string target = output_target(path_);
  if (const auto error = file_.open_or_create(target)) fail("{}: cannot create: {}", path_, error.message());
  {
    const MappedFile before(target);
    const std::string_view text = before.text();
    for (size_t end; (end = text.find('\n', size_)) != std::string_view::npos; size_ = end + 1) {
      if (!keep(text.substr(size_, end - size_))) break;
    }
  }
  if (const auto error = file_.truncate(size_)) fail("{}: cannot truncate: {}", path_, error.message());
}

void AppendFile::write_line(std::string_view line) {
  std::string text(line);
  text += '\n';
  try {
    write_all(file_, size_, text.data(), text.size(), path_);
  } catch (const Error&) {
    file_.truncate(size_);
    throw;
  }
  size_ += text.size();
}

void AppendFile::sync() {
  if (file_.is_open()) file_.sync();
}

std::optional<double> disk_read_rate(const std::string& path) {
  constexpr uint64_t kRead = uint64_t{8} << 20, kPage = 4096;
  constexpr int kReads = 32;
  constexpr double kEnough = 1;  // seconds
  SystemFile file;
  FileFacts facts;
  if (file.open_uncached(path) || file.facts(facts)) return std::nullopt;
  Buffer<std::byte> buffer(int64_t(kRead + kPage));
  void* memory = buffer.data();
  size_t space = kRead + kPage;
  std::align(kPage, kRead, memory, space);
  double bytes = 0, s = 0;
  for (int i = 0; i < kReads && s < kEnough; ++i) {
    size_t n = 0;
    std::error_code error;
    const uint64_t position = facts.bytes / kReads * uint64_t(i) / kPage * kPage;
    s += seconds([&] { error = file.read_at(position, memory, kRead, n); });
    if (error || n == 0) break;
    bytes += double(n);
  }
  return bytes > 0 && s > 0 ? std::optional(bytes / s) : std::nullopt;
}

bool file_exists(const std::string& path) {
  FileFacts facts;
  return !facts_of(path, Links::followed, facts);
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  if (const auto error = list_folder(folder, names)) fail("{}: cannot open: {}", folder, error.message());
  std::erase_if(names, [&](const std::string& name) { return is_directory(path_in(folder, name)); });
  std::sort(names.begin(), names.end());
  return names;
}

FilesBelow files_below(const std::string& folder) {
  FilesBelow found;
  std::vector<std::string> folders = {folder};
  while (!folders.empty()) {
    const std::string at = std::move(folders.back());
    folders.pop_back();
    std::vector<std::string> names;
    if (const auto error = list_folder(at, names))
      fail("{}: cannot read the folder: {}", at, error.message());
    for (const std::string& name : names) {
      const std::string path = path_in(at, name);
      FileFacts facts;
      if (name.starts_with('.')) {
        ++found.n_hidden;
      } else if (!facts_of(path, Links::themselves, facts) && facts.type == FileType::folder) {
        folders.push_back(path);
      } else if (facts_of(path, Links::followed, facts) || facts.type == FileType::regular) {
        found.files.push_back(path);  // a link to nothing is an error where it is read
      } else {
        ++found.n_others;
      }
    }
  }
  std::sort(found.files.begin(), found.files.end());
  return found;
}

bool is_directory(const std::string& path) {
  FileFacts facts;
  return !facts_of(path, Links::followed, facts) && facts.type == FileType::folder;
}

}  // namespace lora
