// Where an output goes, and who writes it. Beside a target lie, while it is written:
//   TARGET.lora-lock            held by the one process that writes it, under a lock of the system; its text:
//   who that is TARGET.<16 hex digits>.tmp  what is written so far, until it is renamed (base/file.h)
// One that ends by a signal removes them (base/leftover.h). One that was killed leaves them; who holds the
// lock next knows that nobody writes there and removes them.
#pragma once

#include <string>
#include <string_view>

#include "base/leftover.h"
#include "base/system_file.h"

namespace lora {

// The file that an output of this name is: links are followed, so that a link stays one. Error if something
// other than a regular file is there, or one that is write-protected.
std::string output_target(const std::string& path);

// A name beside the target that nothing has yet. Long names are cut to what the file system takes.
std::string temporary_name(const std::string& target);

// The target's name if a file in its folder is a temporary or lock file of one, "" if not. A long name comes
// as it was cut.
std::string target_of_leftover(std::string_view file_name);

// Whether holding the target would remove this file.
bool is_temporary_of(const std::string& target, const std::string& file);

// The right to write a target, for as long as it lives.
class Hold {
 public:
  Hold() = default;  // of nothing
  // Removes what killed runs left of this target. Error as output_target(), if the folder cannot be written,
  // and, naming the process, if the target is held already, be it by this process.
  explicit Hold(const std::string& path);
  // The same, but empty where this process holds it.
  static Hold unless_ours(const std::string& path);
  ~Hold();
  Hold(Hold&& other) noexcept;
  Hold& operator=(Hold&& other) noexcept;
  // Not empty on a file system without locks: nobody else is kept out, and nothing was removed.
  const std::string& warning() const { return warning_; }

 private:
  Hold(const std::string& path, bool ours_will_do);
  std::string lock_, warning_;
  Leftover leftover_;
  SystemFile file_;
};

}  // namespace lora
