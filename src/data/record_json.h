// JSON in records. The order of fields is kept: a template writes down tools and their arguments in it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace lora {

// The value that the text is. Throws Error that says what is wrong with it; also for one that nests too deep
// (base/json_depth.h), has an object of more than kMostFields fields, which take the square of their number
// to be kept in order, or one with two fields of the same name.
inline constexpr int64_t kMostFields = 4096;
nlohmann::ordered_json parse_json(std::string_view text);

// The list or object that the value is, or that its text is in JSON, which is all that a .csv has and how
// many data sets keep them; `parsed` holds the latter. Throws Error "NAME: WHY" for anything else.
const nlohmann::ordered_json& list_of(const nlohmann::ordered_json& value, std::string_view name,
                                      nlohmann::ordered_json& parsed);
const nlohmann::ordered_json& object_of(const nlohmann::ordered_json& value, std::string_view name,
                                        nlohmann::ordered_json& parsed);

}  // namespace lora
