// Dates as Python's strftime writes them where the locale is C, whatever the user's is and whatever the
// system.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/date.h"

namespace lora::jinja {

// The conversions of the C library, with GNU's flags ("%-d"), widths, E and O; what is none stays as it
// stands. Without a time zone: %z and %Z are empty. nullopt for more than `most` bytes.
std::optional<std::string> format_date(std::string_view format, const DateTime& date, size_t most);

}  // namespace lora::jinja
