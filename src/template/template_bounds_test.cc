// Templates that would take all time, memory or stack: an error, and soon.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "template/template_test_util.h"

namespace lora::jinja {
namespace template_bounds_test {

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

struct Hostile {
  std::string source;
  std::string error;  // a part of it
};

void expect_refused(const std::vector<Hostile>& all) {
  for (const Hostile& hostile : all) {
    SCOPED_TRACE(hostile.source.substr(0, 300));
    const auto begin = std::chrono::steady_clock::now();
    const auto got = outcome(hostile.source, {{"l", {1, 2, 3}}, {"s", "text"}});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_NE(got.value("error", "").find(hostile.error), std::string::npos) << got.dump().substr(0, 300);
    if (!LORA_INSTRUMENTED) {
      EXPECT_LT(took.count(), 10.0);
    }
  }
}

TEST(Bounds, Nesting) {
  const std::string deep = "nests too deep";
  const auto around = [](const std::string& open, const std::string& close) {
    return "{{ " + repeated(open, 100000) + "1" + repeated(close, 100000) + " }}";
  };
  for (const auto& [open, close] :
       {std::pair("(", ")"),  {"[", "]"},    {"{1:", "}"},       {"not ", ""},     {"-", ""},
        {"s[", "]"},          {"s(", ")"},   {"s(a=", ")"},      {"s(*", ")"},     {"", ".a"},
        {"", " + 1"},         {"", "|trim"}, {"", " or s"},      {"", " and s"},   {"", " ** s"},
        {"", " if 1 else 1"}, {"", " if 1"}, {"s is in (", ")"}, {"s is in ", ""}, {"s | d(", ")"},
        {"", "[0]"},          {"", "()"},    {"1 < (", ")"},     {"1 ~ (", ")"}})
    expect_refused({{around(open, close), deep}});
  for (const char* tag :
       {"if 1", "for a in l", "macro m()", "filter trim", "set x", "with", "generation", "call s()"})
    expect_refused({{repeated(std::string("{% ") + tag + " %}", 100000), deep}});
  expect_refused({
      {"{% set " + repeated("(", 100000) + "a" + repeated(")", 100000) + " = 1 %}", deep},
      {"{% for " + repeated("(", 100000) + "a" + repeated(")", 100000) + " in l %}{% endfor %}", deep},
      {"{% set x" + repeated("|trim", 100000) + "%}{% endset %}", deep},
  });
}

TEST(Bounds, Recursion) {
  const std::string deep = "recursion";
  expect_refused({
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", deep},
      {"{% macro m() %}{% set x = m() %}{% endmacro %}{{ m() }}", deep},
      {"{% macro a() %}{{ b() | trim }}{% endmacro %}{% macro b() %}{{ a() ~ 1 }}{% endmacro %}{{ a() }}",
       deep},
      {"{% macro m() %}{% call m() %}{{ m() }}{% endcall %}{{ caller() }}{% endmacro %}{% call m() %}{% "
       "endcall %}",
       deep},
      {"{% for a in l recursive %}{{ loop(l) }}{% endfor %}", deep},
      {"{% for a in l recursive %}{% set x = loop(l) %}{% endfor %}", deep},
      {"{% set ns = namespace(m=0) %}{% macro m() %}{{ ns.m() }}{% endmacro %}{% set ns.m = m %}{{ m() }}",
       deep},
      {"{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
       "nests deeper"},
      {"{% set ns = namespace(x={}) %}{% for i in range(100000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}",
       "nests deeper"},
      {"{% set ns = namespace() %}{% set ns.a = ns %}", "not supported"},
      {"{% set ns = namespace() %}{% set ns.a = [[ns]] %}", "not supported"},
      {"{% set ns = namespace() %}{% for a in l %}{% set ns.a = loop %}{% endfor %}", "not supported"},
  });
}

TEST(Bounds, Memory) {
  const std::string memory = "too m";  // takes too much memory, or too many steps on the way there
  const std::string grow = "{% set ns = namespace(x='ab') %}{% for i in range(1000) %}{% set ns.x = ";
  expect_refused({
      {"{{ range(10 ** 9) }}", "Range too big"},
      {"{{ 'a' * 10 ** 9 }}", memory},
      {"{{ 'a' * 10 ** 18 }}", memory},
      {"{{ ('a' * 10 ** 8) * 10 ** 8 }}", memory},
      {"{{ [1] * 10 ** 9 }}", memory},
      {"{{ ([1] * 10 ** 6) * 10 ** 13 }}", memory},
      {"{{ 'a'.ljust(10 ** 9) }}", memory},
      {"{{ 'a'.rjust(10 ** 17) }}", memory},
      {"{{ 'a'.center(10 ** 9) }}", memory},
      {"{{ 'a'.zfill(10 ** 9) }}", memory},
      {"{{ 'a' | center(10 ** 9) }}", memory},
      {"{{ 'a' | indent(10 ** 9) }}", memory},
      {"{{ l | tojson(indent=10 ** 9) }}", memory},
      {"{{ l | batch(10 ** 9, 1) | list }}", memory},
      {"{{ l | batch(10 ** 17, 1) | list }}", memory},
      {"{{ '%1000000000d' % 1 }}", "wider"},
      {"{{ '%.1000000000f' % 1 }}", "wider"},
      {"{{ '{:1000000000}'.format(1) }}", "wider"},
      {"{{ '{:.1000000000f}'.format(1.0) }}", "wider"},
      {"{{ '\\t'.expandtabs(10 ** 9) }}", "not supported"},
      {grow + "ns.x + ns.x %}{% endfor %}", memory},
      {grow + "ns.x ~ ns.x %}{% endfor %}", memory},
      {grow + "ns.x.replace('a', ns.x) %}{% endfor %}", memory},
      {grow + "ns.x | replace('a', ns.x) %}{% endfor %}", memory},
      {grow + "ns.x.join([ns.x, ns.x]) %}{% endfor %}", memory},
      {grow + "[ns.x, ns.x] | join %}{% endfor %}", memory},
      {grow + "'%s%s' % (ns.x, ns.x) %}{% endfor %}", memory},
      {grow + "'{0}{0}'.format(ns.x) %}{% endfor %}", memory},
      {grow + "ns.x | tojson | tojson | tojson %}{% endfor %}", memory},
      {grow + "(ns.x ~ '<') | e | string ~ ns.x %}{% endfor %}", memory},
      {"{% set ns = namespace(x=[1]) %}{% for i in range(1000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
       memory},
      {"{% set ns = namespace(x=l) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
       "ns.x }}",
       ""},
      {"{% set ns = namespace(x=l) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
       "ns.x | tojson }}",
       ""},
      {"{% set ns = namespace(x=l, y=l) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = "
       "[ns.y, ns.y] %}"
       "{% endfor %}{{ ns.x == ns.y }}{{ ns.x < ns.y }}",
       "too many steps"},
      {"{% set ns = namespace(x=(1,)) %}{% for i in range(90) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ "
       "{ns.x: 1} }}",
       "too many steps"},
      {"{% set ns = namespace() %}{% for i in range(20000) %}{% set ns.a = ns.a ~ i %}{% set x = "
       "namespace(**{'a' ~ i: 1}) %}"
       "{% endfor %}{% set y = 'ab' * 10 ** 8 %}{% set z = y ~ y %}",
       memory},
  });
}

TEST(Bounds, Time) {
  const std::string steps = "too many steps", loop = "{% for a in range(100000) %}",
                    ends = repeated("{% endfor %}", 3);
  expect_refused({
      {repeated(loop, 3) + ends, steps},
      {repeated(loop, 3) + "{% set x = a %}" + ends, steps},
      {loop + "{{ range(100000) | sort | join | length }}{% endfor %}", steps},
      {"{% set x = 'ab' * 10 ** 7 %}" + loop + "{% set y = x | upper %}{% endfor %}", steps},
      {"{% set x = 'ab' * 10 ** 7 %}" + loop + "{% set y = x == x ~ '' %}{% endfor %}", steps},
      {"{% set x = 'ab' * 10 ** 7 %}" + loop + "{% set y = 'b' * 10 ** 4 in x %}{% endfor %}", steps},
      {"{% set x = 'a' * 10 ** 7 %}{{ x.rfind('b' ~ 'a' * 10 ** 6) }}{{ x.rsplit('a' * 10 ** 6 ~ 'b') }}" +
           loop + "{{ x.rfind('ab') }}{% endfor %}",
       steps},
      {"{% set x = 'a' * 10 ** 7 %}{{ x.strip('b' * 10 ** 7 ~ 'a') }}", steps},
      {"{% set x = range(100000) | list %}" + loop + "{% if a + 1 not in x %}{% endif %}{% endfor %}", steps},
      {"{% set x = range(100000) | list %}" + loop + "{% set y = x[1:] %}{% endfor %}", steps},
      {"{% set x = range(100000) | map('string') %}" + loop + "{% set y = x | first %}{% endfor %}" + loop +
           "{% set z = range(100000) | list | unique | list %}{% endfor %}",
       steps},
      {"{% macro m() %}" + loop + loop + "a{% endfor %}{% endfor %}{% endmacro %}{{ m() }}", ""},
      {repeated("{% filter trim %}", 50) + loop + repeated("a", 10000) + "{% endfor %}" +
           repeated("{% endfilter %}", 50),
       "puts out too much"},
  });
}

TEST(Bounds, HoldInASmallThreadsStackToo) {
  // The least that a thread of the C library gets by default is 2 MB elsewhere; Linux gives 8.
  std::string error;
  std::thread([&] {
    error = outcome("{% macro m(x) %}{{ [m(x)] | join }}{% endmacro %}{{ m(1) }}", {}).value("error", "");
  }).join();
  EXPECT_NE(error.find("recursion"), std::string::npos);
}

TEST(Bounds, OrdinaryRecursionAndLongConversationsPass) {
  EXPECT_EQ(
      outcome("{% macro m(n) %}{% if n %}{{ n }},{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100) }}", {})
          .value("text", "")
          .size(),
      292u);
  nlohmann::ordered_json messages;
  for (int i = 0; i < 20000; ++i)
    messages.push_back({{"role", i % 2 ? "assistant" : "user"}, {"content", "some words"}});
  const auto got = outcome(
      "{% for m in messages %}{% if m.role == 'user' or loop.last %}<{{ m['content'] | trim }}>{% endif %}{% "
      "endfor %}",
      {{"messages", messages}});
  EXPECT_EQ(got.value("text", "").size(), 10001u * 12);
}

}  // namespace template_bounds_test
}  // namespace lora::jinja
