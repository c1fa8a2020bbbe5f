#include "template/native.h"

#include "template/operators.h"
#include "template/printing.h"

namespace lora::jinja {

Call::Call(Interpreter& in, const Value& of, Arguments& arguments, const char* called,
           const Parameters& parameters, size_t required)
    : interpreter(in), self(of), all(arguments), name(called) {
  if (parameters[0] && std::string_view(parameters[0]) == kAny) return;
  size_t count = 0;
  while (count < parameters.size() && parameters[count]) ++count;
  if (arguments.positional.size() > count)
    raise("TypeError", "{}() takes at most {} argument{} ({} given)", name, count, count == 1 ? "" : "s",
          arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [key, value] : arguments.named) {
    size_t i = 0;
    while (i < count && (*parameters[i] == '\0' || parameters[i] != key.text())) ++i;
    if (i == count) raise("TypeError", "{}() got an unexpected keyword argument {}", name, repr(key));
    if (values_[i]) raise("TypeError", "{}() got multiple values for argument {}", name, repr(key));
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i]) raise("TypeError", "{}() missing required argument {} {}", name, i + 1, parameters[i]);
  }
}

int64_t Call::integer(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if (!values_[i]->is(Kind::integer) && !values_[i]->is(Kind::boolean))
    raise("TypeError", "'{}' object cannot be interpreted as an integer", type_name(*values_[i]));
  return values_[i]->integer();
}
bool Call::flag(size_t i, bool otherwise) const {
  return values_[i] ? truth(*values_[i]) : otherwise;
}
std::optional<std::string_view> Call::maybe_text(size_t i) const {
  if (!has(i)) return std::nullopt;
  if (!values_[i]->is_string())
    raise("TypeError", "{}() argument {} must be str, not {}", name, i + 1, type_name(*values_[i]));
  return values_[i]->text();
}
std::string_view Call::text(size_t i, std::string_view otherwise) const {
  return maybe_text(i).value_or(otherwise);
}

}  // namespace lora::jinja
