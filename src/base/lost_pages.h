// Pages of mapped files that cannot be read any more, since another program cut the file short or its disk
// failed. The system says so by SIGBUS to the thread that touches such a page, deep in some kernel, where
// nothing can be thrown: so the whole file reads as zeros from then on, the loss is noted, and whoever wants
// to use what came of the reading asks first. A loss stays for the life of a process that catches them; any
// other, which no page of zeros was put under, is only refused to write while the file is mapped.
#pragma once

#include <cstddef>
#include <string>

namespace lora {

// For programs, once, at their start; the library installs no handler of its own. SIGBUS at an address that
// is not in a MappedFile does what it does by default.
void catch_lost_pages();

// "PATH: cannot be read any more: WHY" of the first file that was lost, "" if none was. As cheap as a flag.
std::string lost_pages();
// Throws that as Error.
void expect_no_lost_pages();

// For MappedFile: fd's first `size` bytes are mapped from now on, and until then. Ending it looks whether the
// file was cut.
void begin_mapping(int fd, const void* data, size_t size, const std::string& path);
void end_mapping(const void* data);
// For writers: notes the loss if a system call could not read at the address (EFAULT) and a mapping is there.
// Without catch_lost_pages() this and the next throw the Error themselves, and nothing is noted.
void note_unreadable(const void* address);
// Looks whether a mapped file is shorter now than its mapping: the rest of its last page reads as zeros
// without a signal.
void look_for_cut_files();

}  // namespace lora
