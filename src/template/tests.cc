#include "template/tests.h"

#include "template/filters.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

bool rest_is(const Value& value, int64_t divisor, int64_t rest) {
  return equal(arithmetic(Op::modulo, value, divisor), rest);
}
bool has_case(const Value& value, std::string (*change)(std::string_view),
              std::string (*back)(std::string_view)) {
  const std::string text = str(value);
  return change(text) == text && back(text) != text;
}
template <Op op>
bool compares(Call& call) {
  return compare(op, call.self, *call[0]);
}

constexpr Parameters kOther = {"other"}, kNumber = {"num"}, kSequence = {"seq"};

const Test kTests[] = {
    {"defined", kNone, 0, [](Call& call) { return !call.self.is_undefined(); }},
    {"undefined", kNone, 0, [](Call& call) { return call.self.is_undefined(); }},
    {"none", kNone, 0, [](Call& call) { return call.self.is(Kind::none); }},
    {"string", kNone, 0, [](Call& call) { return call.self.is_string(); }},
    {"mapping", kNone, 0, [](Call& call) { return call.self.is(Kind::dict); }},
    {"iterable", kNone, 0, [](Call& call) { return is_iterable(call.self); }},
    {"sequence", kNone, 0,
     [](Call& call) {
       const Value& value = call.self;
       return value.is_undefined() || value.is_string() || value.is(Kind::dict) ||
              (value.is(Kind::list) && value.items().is_sequence());
     }},
    {"boolean", kNone, 0, [](Call& call) { return call.self.is(Kind::boolean); }},
    {"true", kNone, 0, [](Call& call) { return call.self.is(Kind::boolean) && call.self.boolean(); }},
    {"false", kNone, 0, [](Call& call) { return call.self.is(Kind::boolean) && !call.self.boolean(); }},
    {"integer", kNone, 0, [](Call& call) { return call.self.is(Kind::integer); }},
    {"float", kNone, 0, [](Call& call) { return call.self.is(Kind::real); }},
    {"number", kNone, 0, [](Call& call) { return is_number(call.self); }},
    {"callable", kNone, 0,
     [](Call& call) {
       return call.self.is_undefined() || (call.self.is(Kind::object) && thing(call.self).can_be_called());
     }},
    {"odd", kNone, 0, [](Call& call) { return rest_is(call.self, 2, 1); }},
    {"even", kNone, 0, [](Call& call) { return rest_is(call.self, 2, 0); }},
    {"divisibleby", kNumber, 1,
     [](Call& call) { return equal(arithmetic(Op::modulo, call.self, *call[0]), 0); }},
    {"lower", kNone, 0, [](Call& call) { return has_case(call.self, lower, upper); }},
    {"upper", kNone, 0, [](Call& call) { return has_case(call.self, upper, lower); }},
    {"escaped", kNone, 0, [](Call& call) { return call.self.is_string() && call.self.string().safe; }},
    {"sameas", kOther, 1, [](Call& call) { return same(call.self, *call[0]); }},
    {"in", kSequence, 1, [](Call& call) { return contains(*call[0], call.self); }},
    {"filter", kNone, 0,
     [](Call& call) { return hash_of(call.self), call.self.is_string() && find_filter(call.self.text()); }},
    {"test", kNone, 0,
     [](Call& call) { return hash_of(call.self), call.self.is_string() && find_test(call.self.text()); }},
    {"eq", kOther, 1, compares<Op::eq>},
    {"equalto", kOther, 1, compares<Op::eq>},
    {"==", kOther, 1, compares<Op::eq>},
    {"ne", kOther, 1, compares<Op::ne>},
    {"!=", kOther, 1, compares<Op::ne>},
    {"lt", kOther, 1, compares<Op::lt>},
    {"lessthan", kOther, 1, compares<Op::lt>},
    {"<", kOther, 1, compares<Op::lt>},
    {"le", kOther, 1, compares<Op::le>},
    {"<=", kOther, 1, compares<Op::le>},
    {"gt", kOther, 1, compares<Op::gt>},
    {"greaterthan", kOther, 1, compares<Op::gt>},
    {">", kOther, 1, compares<Op::gt>},
    {"ge", kOther, 1, compares<Op::ge>},
    {">=", kOther, 1, compares<Op::ge>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  return find_row(std::span<const Test>(kTests), name);
}

bool call_test(Interpreter& interpreter, const Test& test, const Value& value, Arguments& arguments) {
  Call call(interpreter, value, arguments, test.name.data(), test.parameters, test.required);
  return test.run(call);
}

}  // namespace lora::jinja
