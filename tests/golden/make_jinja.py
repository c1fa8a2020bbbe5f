#!/usr/bin/env python3
"""Writes jinja.json beside it: small templates over the whole language, and what Python's Jinja makes of them.

Jinja is set up as the library transformers does it. Needs jinja2 3.1 (Debian: python3-jinja2). Each case is
{"template": ..., "text": ...} or {"template": ..., "error": "TYPE: MESSAGE"}; where the message is Python's own, and
changes with its version, only "TYPE". All templates are rendered with the variables that stand first in the file.
"""
import datetime
import json
import pathlib

import jinja2
import jinja2.nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def make_environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime(2026, 11, 28, 12, 0, 0).strftime(form)
    return env


def outcome(env, template, variables):
    try:
        return {"text": env.from_string(template).render(**variables)}
    except jinja2.exceptions.TemplateSyntaxError:
        return {"error": "TemplateSyntaxError"}
    except SyntaxError:  # of the Python that Jinja makes
        return {"error": "TemplateSyntaxError"}
    except Exception as error:
        name = type(error).__name__
        whole = name in ("UndefinedError", "TemplateError", "SecurityError")
        return {"error": f"{name}: {error}" if whole else name}


VARIABLES = {
    "n": None, "t": True, "f": False, "zero": 0, "i": 7, "neg": -7, "big": 9007199254740993, "x": 2.5, "tiny": 1e-7,
    "huge": 1e22, "s": "Hello, World", "empty": "", "u": "na\u00efve \u96ea \U0001f40b", "sp": "  padded\t\n", "q": "it's \"so\"",
    "lines": "one\ntwo\r\nthree\n\nfour", "csv": "a,b,,c", "html": "<b>\"a\" & 'b'</b>",
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}], "nothing": [],
    "d": {"b": 1, "a": {"c": [1, 2, {"z": None}]}, "items": "own", "with space": 2}, "nod": {},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                 {"role": "assistant", "content": "<think>hm</think>\n\nHello!", "tool_calls": [
                     {"type": "function", "id": "call_1", "function": {"name": "f", "arguments": {"a": 1, "b": "\u00e9<>&'"}}}]},
                 {"role": "tool", "content": "42", "name": "f"}, {"role": "user", "content": [{"type": "text", "text": "Bye"}, {"type": "image"}]}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
}

# A line each, put out as {{ ... }}.
EXPRESSIONS = r"""
1 + 2
7 // 2
-7 // 2
7 // -2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
7.5 % -2
1 / 2
4 / 2
2 ** 10
2 ** -1
2 ** 0.5
-2 ** 2
2 ** 3 ** 2
(-8) ** 2
1 / 0
1 // 0
1 % 0
1.0 / 0
0.1 + 0.2
1e16
1e15
123456789012345678.0
1e-4
1e-5
1.5e300 * 1e10
1e308 * 10
-(1e308 * 10)
3.0
-0.0
100000.0 * 3
big + 1
big * 1.0
i + x
i * x
t + 1
t + t
t * 3
-t
+t
-x
not i
not not s
i - neg
1 - 2 - 3
2 * 3 + 4 * 5
(1 + 2) * 3
10 - 2 ~ 'a'
1 ~ 2 + 3
1 + 2 ~ 3
'a' 'b' "c"
'a' + 'b'
'a' * 3
3 * 'ab'
'a' * -1
'a' * 0
[1, 2] * 2
[1] + [2, 3]
(1, 2) + (3,)
[1] + (2,)
'a' + 1
1 + 'a'
'a' + n
n + 'a'
[1] + 'a'
'a' * 'b'
'a' - 'b'
{} + {}
s ~ n ~ t ~ i ~ x ~ l ~ d
nope ~ 'x'
nope + 'x'
'x' + nope
nope
nope.attr
nope['a']
nope()
nope | length
nope | upper
nope | trim
nope | join(',')
nope | list
nope | default('d')
nope | d
nope | string
nope | tojson
nope | int
nope | first
nope | last
nope | items
nope | e
nope | replace('a', 'b')
nope is defined
nope == nope2
nope == none
nope in l
nope in s
l in nope
1 in nope
nope < 1
-nope
d.nope
d.nope.nope
d['nope']['nope']
l[10]
l[10].x
l.x
l['x']
n.x
n.x.y
n['x']
s.nope
s[100]
s['a']
i.x
i[0]
t.x
x.y
messages[0].nope.deeper
messages[99].role
n
t
f
[]
{}
()
(1,)
(1, 2)
[1, 'a', none, true, 1.5]
{'a': 1, 'b': [1, 2], 1: 'x', none: 2, true: 3}
{'a': 1, 'a': 2}
[[], {}, ()]
['it\'s', "q\"q", 'both \' "', 'n\nt\tr\r\\', '\x00\x1f\x7f']
['\u00e9', '\u200b', '\ud83d\ude00'[:0]]
q
[q]
u
[u]
{'k': (1, [2, {'x': none}])}
d
messages
mixed
range(3)
range(1, 3)
range(0, 10, 3)
range(5, 0, -2)
range(3) | list
range(5, 0, -2) | list
range(0) | list
range(10)[2:5] | list
range(3)[1]
range(1, 2, 0)
range(100001)
range(1000000000)
range('a')
range(2.5)
range(3) | length
range(3) == range(3)
1 < 2
1 < 2 < 3
1 < 3 < 2
3 > 2 > 1
1 == 1.0
1 == true
'a' == 'a'
'a' != 'b'
'a' < 'b'
'Z' < 'a'
'ab' < 'abc'
[1, 2] < [1, 3]
[1, 2] == [1, 2]
[1, 2] == (1, 2)
(1, 2) == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
none == none
none < 1
1 < none
'a' < 1
1 > 'a'
'a' >= 1
{} < {}
1 in l
5 in l
5 not in l
'a' in 'abc'
'' in 'abc'
'ell' in s
1 in 'abc'
'a' in d
'c' in d
none in mixed
[1] in mixed
1 in 5
1 in n
'a' in n
[] in d
l in d
1 == 1 and 2 == 2
0 or 'x'
'' or 0 or none
'a' and 'b'
0 and x
1 and 0 or 2
not 1 == 2
not 'a' in 'abc'
'a' if t else 'b'
'a' if f else 'b'
'a' if f
('a' if f) is defined
'a' if f else 'b' if f else 'c'
('a' if t else 'b') ~ 'c'
1 if l else 2
s | length
s | upper
s | lower
s[0]
s[-1]
s[1:4]
s[:-1]
s[::-1]
s[::2]
s[-3:]
s[5:2]
s[100:]
s[:100]
s[2:100:3]
s[-1:-5:-1]
u[0:6]
u[6]
u[-1]
u[::-1]
u | length
u | upper
u.split()
l[1:]
l[:-1]
l[::-1]
l[::0]
l['a':]
l[none:none]
l[t]
l[0:2][0]
l[-1]
l[-10]
(1, 2, 3)[1:]
n[1:]
i[1:]
d[1:]
nope[1:]
l.0
l.1
d.a.c.2.z
d.a.c[2].z is none
d.items
d.items()
d.keys()
d.values()
d.keys() | list
d.items() | list
d.items is callable
d['items']
d.get('b')
d.get('nope')
d.get('nope', 'x')
d.get('nope', default='x')
d.get([])
d.copy()
d['with space']
d.pop('b')
d.update({'x': 1})
d.setdefault('b', 2)
d.clear()
l.append(4)
l.insert(0, 1)
l.sort()
l.reverse()
l.pop()
l.extend([1])
l.remove(1)
l.append
l.append is defined
l.index(2)
l.index(9)
l.count(1)
l.copy()
(1, 2).index(2)
(1, 1).count(1)
s.__class__
s.__class__.__mro__
''.__class__.__name__
d.__class__
l.__len__()
s._private
sp.strip()
sp.lstrip()
sp.rstrip()
[sp.strip(), sp.lstrip(), sp.rstrip()]
'xxaxx'.strip('x')
'xyaxy'.strip('yx')
'xxaxx'.lstrip('x')
'xxaxx'.rstrip('x')
'\u3000a\u00a0'.strip()
'abc'.strip('')
'abc'.strip(none)
csv.split(',')
csv.split(',', 1)
csv.split(',', maxsplit=2)
csv.split(sep=',')
csv.rsplit(',', 1)
csv.rsplit(',')
csv.split('')
csv.split(',', -1)
csv.split(',', 0)
'  a  b c '.split()
'  a  b c '.split(none, 1)
'  a  b c '.rsplit(none, 1)
'  a  b c '.split(' ')
''.split()
''.split(',')
'a--b--c'.split('--')
'aaa'.split('aa')
'aaa'.rsplit('aa')
lines.splitlines()
lines.splitlines(true)
''.splitlines()
'a\n'.splitlines()
'a\x0bb\x0cc\u2028d\x85e'.splitlines()
'<think>a</think>b'.split('</think>')[-1]
'<think>a</think>b'.split('</think>')[0].split('<think>')[-1]
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'abc'.rpartition('=')
'abc'.partition('')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('ello', 1)
s.startswith('', 100)
s.endswith('World')
s.endswith(('x', 'd'))
s.startswith(1)
s.startswith(['H'])
s.replace('l', 'L')
s.replace('l', 'L', 1)
s.replace('', '-')
s.replace('', '-', 2)
'aaa'.replace('aa', 'b')
u.replace('', '.')
s.replace(1, 2)
s.find('o')
s.find('o', 5)
s.find('zz')
u.find('\u96ea')
s.rfind('o')
s.index('o')
s.index('zz')
s.rindex('l')
s.count('l')
s.count('')
s.count('l', 5)
s.count('l', -5, -1)
','.join(['a', 'b'])
','.join('abc')
','.join(d)
','.join([1, 2])
','.join(nothing)
','.join(5)
'hello world'.title()
'hELLO wORLD'.capitalize()
"they're bill's".title()
'Hello'.swapcase()
'stra\u00dfe'.upper()
'\u00c9A'.lower()
'\u0416\u0434'.upper()
'123'.isdigit()
'12a'.isdigit()
''.isdigit()
'abc'.isalpha()
'ab1'.isalpha()
'ab1'.isalnum()
'ab 1'.isalnum()
'\u96ea'.isalpha()
' \t'.isspace()
''.isspace()
'ABC'.isupper()
'AbC'.isupper()
'abc1'.islower()
'123'.islower()
'A Title'.istitle()
'abc'.isascii()
u.isascii()
'prefix-a'.removeprefix('prefix-')
'a-suffix'.removesuffix('-suffix')
'abc'.removeprefix('x')
'abc'.removesuffix('')
'7'.zfill(3)
'-7'.zfill(4)
'ab'.ljust(5) ~ '|'
'ab'.rjust(5)
'ab'.center(5) ~ '|'
'abc'.center(6) ~ '|'
'ab'.ljust(5, '*')
'ab'.rjust(5, '**')
'a\tb'.expandtabs(4)
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format('a', 'b')
'{x} {y}'.format(x=1, y=2)
'{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 'b', 'c', 42, 3.14159, 1234567)
'{!r}'.format('a')
'{{}}'.format()
'{'.format()
'{}'.format()
'{a}'.format()
'{0.role}'.format('x')
'{0[0]}'.format([5])
'{:x} {:o} {:b} {:#x}'.format(255, 8, 5, 255)
'{:e} {:g} {:%}'.format(12345.678, 0.0001, 0.25)
'{:+d} {: d}'.format(5, 5)
'{:d}'.format('a')
'{:s}'.format(1)
'{:*^9}'.format('mid')
'%s and %s' % ('a', 1)
'%s' % 'a'
'%s' % [1]
'%d%%' % 5
'%5.1f|%-5d|%05d|%x' % (3.14159, 42, 42, 255)
'%r' % 'a'
'%(a)s' % {'a': 1}
'%s' % ()
'%s' % (1, 2)
'%d' % 'a'
'%q' % 1
'%e' % 12345.678
'%g' % 1e10
'%c' % 'a'
s | capitalize
'hello-world foo(bar' | title
sp | trim
'xxaxx' | trim('x')
s | replace('l', 'L')
s | replace('l', 'L', 1)
i | replace('7', '8')
s | length
5 | length
n | length
d | length
l | first
l | last
nothing | first
nothing | last
nothing | first is defined
s | first
s | last
d | first
l | join
l | join(', ')
l | join(5)
words | join('-')
messages | join(',', attribute='role')
messages | map(attribute='role') | join(', ')
messages | map(attribute='role') | list
messages | map(attribute='nope') | list
messages | map(attribute='nope', default='-') | list
messages | map(attribute='content.0.type') | list
words | map('upper') | list
words | map('replace', 'p', 'q') | join(' ')
words | map('nope') | list
l | map('string') | list
l | map | list
l | select('odd') | list
l | select('gt', 1) | list
l | select('>', 1) | list
mixed | select | list
mixed | reject | list
mixed | select('string') | list
mixed | reject('none') | list
l | select('nope') | list
messages | selectattr('role', 'equalto', 'user') | list | length
messages | selectattr('role', '==', 'user') | map(attribute='content') | first
messages | selectattr('tool_calls') | list | length
messages | selectattr('tool_calls', 'defined') | map(attribute='role') | join
messages | rejectattr('role', 'in', ['user', 'tool']) | map(attribute='role') | join(',')
messages | rejectattr('tool_calls', 'defined') | list | length
messages | selectattr('role', 'ne', 'system') | list | count
messages | selectattr | list
nope | default
nope | default('x')
n | default('x')
n | default('x', true)
empty | default('x', boolean=true)
d.nope | default('x')
d.nope.nope | default('x')
0 | default(5, true)
d | items | list
nod | items | list
l | items | list
d | dictsort
{'B': 1, 'a': 2} | dictsort
{'B': 1, 'a': 2} | dictsort(true)
{'b': 1, 'a': 2} | dictsort(by='value')
{'b': 1, 'a': 2} | dictsort(reverse=true)
{'b': 1, 'a': 2} | dictsort(by='x')
l | sort
l | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
words | sort(true, true)
messages | sort(attribute='role') | map(attribute='role') | join(' ')
mixed | sort
tree | sort(attribute='v', reverse=true) | map(attribute='v') | list
words | unique | list
words | unique(true) | list
[1, 1.0, true, 2] | unique | list
messages | unique(attribute='role') | map(attribute='role') | list
l | reverse | list
s | reverse
nothing | reverse | list
l | sum
[0.1, 0.2] | sum
tree | sum(attribute='v')
[[1], [2]] | sum(start=[])
['a'] | sum
l | min
l | max
words | min
words | max
nothing | max
nothing | max is defined
tree | max(attribute='v')
mixed | max
neg | abs
-2.5 | abs
'a' | abs
2.5 | round
3.5 | round
2.675 | round(2)
2.567 | round(1, 'floor')
2.511 | round(1, 'ceil')
1234 | round(-2)
1250 | round(-2)
1350 | round(-2)
7 | round
2.5 | round(method='x')
1234.5 | round(-2)
'42' | int
'42.7' | int
'abc' | int
'abc' | int(5)
'abc' | int(default=-1)
'0x1F' | int(0, 16)
'1f' | int(base=16)
'101' | int(0, 2)
' 42 ' | int
'1_000' | int
4.9 | int
-4.9 | int
n | int
t | int
[] | int
'' | int
'1e3' | int
'inf' | int
'3.5' | float
'abc' | float
'abc' | float(1.5)
'1e3' | float
3 | float
'nan' | float
'-inf' | float
n | float
' 1_0.5 ' | float
'.5' | float
'5.' | float
i | string
n | string
l | string
[i | string]
html | e
html | escape
html | safe
html | forceescape
html | e | e
(html | safe) + '<'
'<' + (html | safe)
'<' ~ (html | safe)
[html | safe]
(html | safe) | upper
('<' | safe).replace('<', '>')
('a<' | safe).split('a')
(html | safe) | string | e
(html | safe) | tojson
html | striptags
'<!-- x --><p>a  b</p>\n c &amp; d' | striptags
s | list
d | list
5 | list
n | list
l | batch(2) | list
l | batch(2, 'x') | list
range(7) | slice(3) | list
range(7) | slice(3, 'x') | list
messages | groupby('role') | map(attribute='grouper') | list
messages | groupby('role') | map(attribute='list') | map('length') | list
messages | groupby('role') | map('first') | list
tree | groupby('v') | list
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent(2, first=true, blank=true)
lines | indent('> ')
i | indent
'a' | indent(width=-1)
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(9, false, '..', 0)
'foo bar baz qux' | truncate(9, leeway=0)
'foo bar baz' | truncate(2)
'foo bar, baz! x_y' | wordcount
'%s-%s' | format(1, 2)
'%(a)s' | format(a=1)
'%s' | format(1, a=2)
'a b/c?d=\u00e9&' | urlencode
{'a b': 1, 'c': 'd&e'} | urlencode
'ab' | center(6) ~ '|'
i | pprint
{'b': 1, 'a': 2} | pprint
1000 | filesizeformat
123456789 | filesizeformat
123456789 | filesizeformat(true)
1 | filesizeformat
d | attr('items')
d | attr('b')
d | attr('keys') is callable
l | attr('append')
d | tojson
d | tojson(indent=2)
mixed | tojson
mixed | tojson(indent=4)
mixed | tojson(indent='\t')
nothing | tojson(indent=2)
nod | tojson(indent=2)
(1, 2) | tojson
u | tojson
u | tojson(ensure_ascii=true)
q | tojson
html | tojson
'\n\t\r\x08\x0c\x00\x1f\x7f\\/' | tojson
'\x7f\u0080' | tojson(true)
d | tojson(sort_keys=true)
d | tojson(separators=(',', ':'))
d | tojson(separators=[',', ':'], indent=0)
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
{(1, 2): 3} | tojson
[1.0, 1e22, 1e-7, 0.1, 1e16, -0.0] | tojson
(1e308 * 10) | tojson
n | tojson
range(3) | tojson
d.keys() | tojson
(l | map('string')) | tojson
messages[2].tool_calls[0].function.arguments | tojson
messages[2].tool_calls | tojson(indent=2)
s | tojson | tojson
s is string
i is string
u is string
d is mapping
l is mapping
l is iterable
s is iterable
i is iterable
d is iterable
n is iterable
nope is iterable
(l | map('string')) is iterable
l is sequence
s is sequence
d is sequence
i is sequence
range(3) is sequence
d.keys() is sequence
(l | map('string')) is sequence
(1, 2) is sequence
i is number
t is number
x is number
s is number
i is integer
t is integer
x is integer
x is float
i is float
t is boolean
1 is boolean
t is true
1 is true
f is false
0 is false
n is none
nope is none
n is not none
n is defined
d.b is defined
d.nope is defined
d.nope is undefined
d.nope is not defined
range is callable
s is callable
s.upper is callable
nope is callable
i is odd
i is even
neg is odd
'a' is odd
i is divisibleby 7
i is divisibleby(2)
i is divisibleby 0
'abc' is lower
'Abc' is lower
'ABC' is upper
1 is lower
1 is eq 1
1 is equalto 1.0
1 is == 1
1 is ne 2
1 is lt 2
1 is gt 2
1 is le 1
1 is ge 2
1 is lessthan 2
1 is greaterthan 2
'a' is lt 1
1 is in l
1 is in [1, 2]
'a' is in 'abc'
n is sameas none
1 is sameas true
t is sameas true
'upper' is filter
'nope' is filter
'odd' is test
(html | safe) is escaped
s is escaped
s is nope
s | nope
i is not odd and t
i is odd and not f
not i is odd
l is defined and l
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([['a', 1]])
dict(1)
namespace(a=1).a
namespace({'a': 1}).a
namespace(a=1).b
namespace(a=1).b is defined
namespace(a=1)['a']
namespace(a=1) is mapping
raise_exception('Stop: ' ~ s)
raise_exception()
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y')
strftime_now('%d %B %Y, %H:%M:%S')
strftime_now('%A %a %j %y %I %p %e %-d %%')
strftime_now('')
strftime_now('%Z%z')
l | length > 2
(l | length) > 2
l | length == 3 and t
s | upper ~ '!' | lower
-1 | abs
-(1 | abs)
1 + 2 | string
[1, 2, 3,]
{'a': 1,}
(1, 2,)
s.split(', ')[1].upper().lower() | title
(messages | first)['role']
messages[0]['role'] == 'system' and messages[0].content
messages[-1].content[0]['text']
messages[1:] | map(attribute='role') | list
messages[::-1][0].role
messages[2].tool_calls[0]['function'].arguments.items() | list
messages | last | attr('role')
0x1F
0o17
0b101
1_000
1_0.5
007
1.
1e5
1E5
1.5e-3
.5
"a\
b"
'\x41\u0042\103\q'
'a\'b'
"tab\there"
1 if
(1
[1
{'a': }
1 +
a b
s.
s..a
l[
l[1
s | 
is defined
not
5 is
1 is odd is even
'a' 1
a = 1
{{}}
%
@
!a
s.upper(
s.upper(,)
f(a=1, 2)
f(**d, *l)
f(a=1, a=2)
range(*[1, 5]) | list
range(*l)
dict(**{'a': 1})
dict(**1)
dict(*1)
dict(a=1, **{'a': 2})
'{} {}'.format(*['a', 'b'])
'{a}'.format(**{'a': 5})
s.upper(1)
s.split(1)
s.nope()
s()
n()
1()
(s)()
cycler('a', 'b').next()
joiner(', ')()
loop
loop is defined
varargs
caller
d | map('upper') | list
s | map('upper') | join
s | batch(5) | map('join') | list
i | map('upper') | list
t if t is true else f
[1, 2] | map('pprint') | list
'a,b;c' | replace(',', ';') | replace(';', '\n')
'x' is string and 'y' is not mapping
(1, 2)[0] + [3, 4][1]
[i, s, [n]] | tojson
{'role': 'user', 'n': {'m': [1, 2]}} | tojson(indent=2)
[] | tojson
{} | tojson
"" | tojson
true | tojson
l is iterable and l is not mapping and l is not string
"abc"[1] ~ 'abc'[-1] ~ 'abc'[5]
'a' < 'b' and 'b' < 'c'
'\u00e9' > 'z'
[1, 'a'] < [1, 2]
(1, 2, 3) > (1, 2)
true < 2
1.5 > 1
none is none
none == false
0 == false
'' == false
'1' == 1
1 in [true]
'1' in [1]
[[1, 2], [3, 4]] | map('sum') | list
[[1, 2], [3, 4]] | map('first') | list
[{'a': {'b': 1}}, {'a': {}}] | map(attribute='a.b') | list
[{'a': 1}, {}] | selectattr('a', 'defined') | list
[{'a': 1}, {'a': 2}] | selectattr('a', 'gt', 1) | list
'a' in ['a'] and 'a' not in {'b': 1}
i > 5 and i < 10
i >= 7 <= 7
((1))
((1, 2), 3)[0][1]
'%.3f' | format(3.14159)
'%05.1f' % 2.25
'%+d' % 3
'% d' % 3
'%-6s|' % 'ab'
'%6s|' % 'ab'
'%.2s' % 'abc'
9223372036854775807
""" + "\n".join(f"{a} {op} {b}" for a in ("7", "-7", "2.5", "s", "l", "n", "t") for op in ("//", "%", "*", "<", "==")
                for b in ("3", "-2", "0.5", "'ab'", "[1]", "false"))

# Whole templates.
TEMPLATES = [
    "", "plain", "a\n", "a\n\n", "\n", "a\r\nb\rc\n", "{{ 'a\r\nb' }}", "{", "{ {", "}}", "%}", "#}", "{{", "{%", "{#", "{# a #}b",
    "{# a #}\nb", "a {# c #} b", "  {# c #}\nb", "{#- c -#}", "a {#- c -#} b", "{# {{ x }} #}", "{##}", "{#-#}", "{# a", "a\n  {#- c #}\n b",
    "{% raw %}{{ a }}{% b %}{% endraw %}", "{%- raw -%} {{ a }} {%- endraw -%} b", "{% raw %}\n a\n{% endraw %}\nb", "a {%- raw %} x {% endraw -%} b",
    "{% raw %}", "x{% endraw %}", "{% raw %}{% endraw", "{%raw%}a{%endraw%}", "a\n  {% raw %}\n b\n  {% endraw %}\n c",
    "{% if t %}\na\n{% endif %}\nb", "  {% if t %}\n  a\n  {% endif %}\nb", "x {% if t %}\n  a\n  {% endif %} b", "{% if t -%}\n  a\n{%- endif %}\nb",
    "a\n{%- if t %} b {% endif -%}\n c", "a\n  {%+ if t %}b{% endif +%}\nc", "a  {{- s -}}  b", "a\n{{- s }}\n{{ s -}}\nb", "a\n  {{ s }}\n", "{{+ i }}",
    "{{-5}}", "{{ -5 }}", "{{- -5 -}}", "{%if t%}a{%endif%}", "{%-if t-%} a {%-endif-%}", "{{s}}{{i}}", "{{ s\n}}\n{{ i }}", "{% if t %}a{% endif %}\n\n\nb",
    "\t{% if t %}\ta\n\t{% endif %}\t\nb", "\u00a0{% if t %}a{% endif %}", "a\u3000{%- if t -%}\u3000b{% endif %}", "  {{ s }}  {% if t %}  {% endif %}  ",
    "line\n   {% set a = 1 %}   \n  {{ a }}", "{% set a = 1 %}\n\n{{ a }}", "{{ '}}' }}", "{{ \"{{\" }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': {}}}}", "{{ '%}' }}{% set x = '%}' %}{{ x }}",
    "{% if f %}a{% elif t %}b{% else %}c{% endif %}", "{% if f %}a{% elif f %}b{% else %}c{% endif %}", "{% if l and not n %}x{% endif %}",
    "{% if 1, 2 %}x{% endif %}", "{% if %}a{% endif %}", "{% if t %}a", "{% endif %}", "{% else %}", "{% if t %}a{% endfor %}", "{% if t %}{% else %}{% else %}{% endif %}",
    "{% for a in l %}{{ a }}{% endfor %}", "{% for a in l %}{{ loop.index }}/{{ loop.length }}:{{ a }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for a in l %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for a in l %}{{ loop.previtem }}<{{ a }}>{{ loop.nextitem }};{% endfor %}", "{% for a in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for a in l %}{{ loop.cycle('x', 'y') }}{% endfor %}", "{% for a in [1, 1, 2, 2, 1] %}{{ loop.changed(a) }}{% endfor %}", "{% for a in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for a in nothing %}a{% else %}none{% endfor %}", "{% for a in nope %}a{% else %}none{% endfor %}", "{% for a in n %}{% endfor %}", "{% for a in i %}{% endfor %}",
    "{% for a in s %}{{ a }}.{% endfor %}", "{% for a in d %}{{ a }},{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | items %}{{ k }},{% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }},{% endfor %}", "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a in l if a > 1 %}{{ a }}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}",
    "{% for a in l if a > 5 %}{{ a }}{% else %}no{% endfor %}", "{% for a in l if a is odd %}{{ a }}{% endfor %}", "{% for a in 1, 2, 3 %}{{ a }}{% endfor %}", "{% for a in l | sort %}{{ a }}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }}{{ loop.previtem.role if not loop.first }} {% endfor %}",
    "{% for a in range(10) %}{% if a == 3 %}{% break %}{% endif %}{{ a }}{% endfor %}", "{% for a in range(5) %}{% if a is odd %}{% continue %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in range(3) %}{% for b in range(3) %}{% if b > a %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{% endfor %}", "{% break %}", "{% for a in l %}{% endfor %}{% continue %}",
    "{% for a in range(3) %}{% break %}{% else %}x{% endfor %}|", "{% for a in l %}{{ loop.index }}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for a in l %}{% set outer = loop %}{% for b in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}", "{{ loop }}", "{% for loop in l %}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}{% if n.c %}({{ loop(n.c) }}){% endif %}{% endfor %}", "{% for n in tree recursive %}{{ loop.depth }}{{ n.v }}{{ loop(n.c) }}{% endfor %}", "{% for n in l %}{{ loop(l) }}{% endfor %}",
    "{% for a in l %}{% set x = a %}{% endfor %}{{ x }}", "{% set y = 1 %}{% for a in l %}{{ y }}{% set y = a %}{{ y }}{% endfor %}{{ y }}", "{% for a in l %}{{ z }}{% set z = a %}{% endfor %}", "{% for a in l %}{% endfor %}{{ a }}",
    "{% if t %}{% set v = 1 %}{% endif %}{{ v }}", "{% if f %}{% set v = 1 %}{% endif %}{{ v is defined }}", "{% for a in l %}{% if a == 1 %}{% set i = 'new' %}{% endif %}{{ i }}{% endfor %}{{ i }}",
    "{% set ns = namespace(n=0) %}{% for a in l %}{% set ns.n = ns.n + a %}{% endfor %}{{ ns.n }}", "{% set ns = namespace() %}{% set ns.a = [1] %}{% set ns.a = ns.a + [2] %}{{ ns.a }}", "{% set ns = namespace(a=1) %}{{ ns }}",
    "{% set d.x = 1 %}", "{% set nope.x = 1 %}", "{% set ns = namespace(found=false) %}{% for m in messages if not ns.found %}{{ m.role }}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}{% endfor %}",
    "{% set ns = namespace(a=1, b='x') %}{% set ns.a, ns.b = 2, 3 %}{{ ns.a }}{{ ns.b }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}", "{% set (a, b) = (1, 2) %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a }}", "{% set a = (1) %}{{ a }}",
    "{% set a, b = b, a %}{{ a }}", "{% set a %}x{{ i }}y{% endset %}[{{ a }}]", "{% set a | upper %}x{{ s }}{% endset %}{{ a }}", "{% set a | replace('x', 'y') | trim %}  x  {% endset %}[{{ a }}]", "{% set a %}{% set b = 1 %}{% endset %}{{ b }}", "{% set a %}\n  x\n{% endset %}\n{{ a }}",
    "{% set true = 1 %}", "{% set none = 1 %}", "{% set 1 = 1 %}", "{% set a %}", "{% set a = %}", "{% set a.b.c = 1 %}", "{% set a[0] = 1 %}", "{% set l = l + [4] %}{{ l }}", "{% set messages = messages[1:] %}{{ messages | length }}", "{% set range = 5 %}{{ range }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}", "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(7) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs | join }}{% endmacro %}{{ m(1, 2, 3) }}", "{% macro m() %}{{ i }}{% endmacro %}{{ m() }}",
    "{% set v = 1 %}{% macro m() %}{{ v }}{% set v = 2 %}{{ v }}{% endmacro %}{{ m() }}{{ v }}", "{% macro m() %}{{ w }}{% endmacro %}{% set w = 1 %}{{ m() }}", "{% for a in l %}{% macro m() %}{{ a }}{% endmacro %}{{ m() }}{% endfor %}", "{{ m() }}{% macro m() %}{% endmacro %}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{% macro m() %}a{% endmacro %}{{ m() ~ 'b' }}{{ m() | upper }}{{ m() | length }}", "{% macro m() %}\n  x\n{% endmacro %}\n[{{ m() }}]", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}body{{ i }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}", "{% macro m(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call m('a') %}b{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}",
    "{% call s %}{% endcall %}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}", "{% macro m(a, b) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.caller }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}",
    "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% macro m(o) %}{% for k, v in o.items() %}{{ k }}:{% if v is mapping %}{ {{- m(v) -}} }{% else %}{{ v }}{% endif %},{% endfor %}{% endmacro %}{{ m({'a': 1, 'b': {'c': 2}}) }}",
    "{% macro m() %}{% set ns.c = ns.c + 1 %}{% endmacro %}{% set ns = namespace(c=0) %}{{ m() }}{{ m() }}{{ ns.c }}", "{% macro m() %}{% endmacro %}{{ m is defined }}{{ m is callable }}", "{% macro m(x=[]) %}{{ x }}{% endmacro %}{{ m() }}{{ m([1]) }}{{ m(x=none) }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}banana{% endfilter %}", "{% filter trim %}  x  {% endfilter %}|", "{% filter nope %}{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}", "{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}", "{% for x in l %}{% with %}{% break %}{% endwith %}{% endfor %}ok",
    "a{% generation %}b{{ i }}{% endgeneration %}c", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}", "{% generation %}{% set g = 1 %}{{ g }}{% endgeneration %}{{ g }}", "{% for a in l %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% generation %}\nx\n{% endgeneration %}\ny", "{% generation %}", "{% do x %}", "{% nope %}", "{% %}", "{% 5 %}", "{% print s %}", "{% print s, i %}", "{% trans %}x{% endtrans %}", "{% debug %}",
    "{{ s | nope }}", "{% if f %}{{ s | nope }}{% endif %}ok", "{% if t %}{{ s | nope }}{% endif %}ok", "{{ 1 if t else s | nope }}", "{{ (s | nope) if t }}", "{% if f %}{{ s is nope }}{% endif %}ok", "{% if f %}{% for a in l %}{{ a | nope }}{% endfor %}{% endif %}", "{% macro m() %}{{ s | nope }}{% endmacro %}",
    "{{ 'a' if x is nope else 'b' }}", "{% set g = words | map('upper') %}{{ g | join }}{{ g | join }}", "{% set g = l | select('odd') %}{% if g %}yes{% endif %}{{ g | list | length }}{{ g | list | length }}", "{% set g = words | map('upper') %}{{ g | first }}{{ g | first }}{{ g | list }}", "{% set g = words | map('upper') %}{{ g[0] is defined }}{{ g | length }}",
    "{% set r = l | reverse %}{{ r | list }}{{ r | list }}", "{% for a in l | reverse %}{{ a }}{{ loop.length }}{{ loop.last }}{% endfor %}", "{% for a in words | map('upper') %}{{ loop.index }}{{ a }}{{ loop.last }}{% endfor %}", "{% for g in messages | groupby('role') %}{{ g.grouper }}:{{ g.list | length }} {% endfor %}", "{% for r, ms in messages | groupby('role') %}{{ r }}{{ ms | length }}{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}", "{% set j = joiner('|') %}{% for a in l %}{{ j() }}{{ a }}{% endfor %}", "{{ raise_exception('no') }}", "{% if messages[0].role != 'user' %}{{ raise_exception('Roles must alternate!\n' ~ i) }}{% endif %}",
    "{{ s }}\n{{ nope.x }}", "{% for m in messages %}{{ m.content.strip() }}{% endfor %}", "{% for m in messages %}{{ m['content'] | trim }}{% endfor %}", "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}", "{% set content = messages[2].content %}{{ content.split('</think>')[-1].lstrip('\\n') }}",
    "{% set tool_calls = messages[2].tool_calls %}{% for t in tool_calls %}{%- if t.function %}{%- set t = t.function %}{%- endif %}{{ t.name }}{{ t.arguments | tojson }}{% endfor %}", "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages | length }}{{ system }}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}x{% else %}y{% endif %}{% endfor %}", "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}", "{% if tools is not none and tools is defined %}a{% endif %}", "{% if tools %}a{% endif %}", "{%- set ns = namespace(last=-1) %}{%- for m in messages[::-1] %}{%- set idx = (messages | length - 1) - loop.index0 %}{%- if m.role == 'user' and ns.last < 0 %}{%- set ns.last = idx %}{%- endif %}{%- endfor %}{{ ns.last }}",
    "{% for c in messages[-1].content %}{% if c.type == 'text' %}{{ c.text }}{% elif c['type'] == 'image' or 'image' in c %}<image>{% endif %}{% endfor %}", "{{ messages[-1].content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('\\n') }}", "{% for k in d if k is string and k not in ['b'] %}{{ k }};{% endfor %}", "{%- for a in l -%}\n  {{ a }}\n{%- endfor -%}\n", "{% for a in l %}\n{{ a }}\n{% endfor %}\n",
    "{%- macro render(o, depth=0) -%}{%- if o is mapping -%}{%- for k, v in o.items() %}{{ '  ' * depth ~ k ~ ': ' }}{{ render(v, depth + 1) }}\n{% endfor -%}{%- elif o is iterable and o is not string -%}{%- for v in o %}{{ render(v, depth) }},{% endfor %}{%- else -%}{{ o }}{%- endif -%}{%- endmacro -%}{{ render(messages[2].tool_calls) }}",
    "{{- '<|im_start|>' + messages[1].role + '\\n' + messages[1].content + '<|im_end|>' + '\\n' -}}", "{% for x in [1, 2] %}{% set foo %}{{ x }}{% endset %}{{ foo }}{% endfor %}{{ foo }}", "{% set a = namespace(x=namespace(y=1)) %}{{ a.x.y }}", "{% set x = 5 %}{% if true %}{% set x = x + 1 %}{% endif %}{{ x }}", "{% set ns = namespace(t='') %}{% for a in words %}{% set ns.t = ns.t ~ a[0] %}{% endfor %}{{ ns.t }}",
    "{{ 1 }}{{ 2 }}{# x #}{{ 3 }}", "{{ (i, s) }}", "{{ i, s }}", "{{ i, }}", "{{ }}", "{{ a if }}", "{% for %}{% endfor %}", "{% for a l %}{% endfor %}", "{% for a in %}{% endfor %}", "{% for 1 in l %}{% endfor %}", "{% for a in l %}", "{% for a.b in l %}{% endfor %}", "{% for a in l recursive if x %}{% endfor %}",
    "{% if t %}{{ 'a' }}\n{%- else %}b{% endif %}", "{{ '\\n' }}{{ \"\\t\" }}|", "{% if t %}{# c #}\n{% endif %}x", "{% if t %}\n\n{{ s }}\n\n{% endif %}\n\nend\n\n", "a{{ '' }}\n{{ '' }}b", "{%- if t %}\n    {{- s }}\n    {%- if t %}\n        {{- i }}\n    {%- endif %}\n{%- endif %}",
    "{% set x = {'a': [1, {'b': 2}]} %}{{ x.a[1].b }}{{ x['a'][0] }}{{ x | tojson }}", "{% set f = 'format' %}{{ '%s' | format(f) }}", "{% set m = messages | map(attribute='role') | list %}{{ 'user' in m }}{{ m.index('user') }}", "{% for i in range(3) %}{{ i }}{% endfor %}{{ i }}", "{% for role, ms in {'a': [1], 'b': []}.items() %}{{ role }}{{ ms | length }}{% endfor %}",
    "{% macro outer() %}{% macro inner() %}I{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}", "{% set fn = range %}{{ fn(2) | list }}", "{% set up = s.upper %}{{ up() }}", "{{ [s.upper][0]() }}", "{{ {'f': s.lower}.f() }}", "{{ {'f': 1}.get('f') }}", "{% set d2 = dict(d, z=1) %}{{ d2 | length }}{{ d2.z }}",
    "{% if nope is undefined %}u{% endif %}{% if nope is not defined or nope.x %}v{% endif %}", "{{ 'yes' if 'items' in d else 'no' }}", "{{ d.items() | first | last }}", "{% for k in d.keys() | sort %}{{ k }} {% endfor %}", "{% for a in l %}{% if loop.first %}[{% endif %}{{ a }}{% if loop.last %}]{% else %},{% endif %}{% endfor %}", "{% for a in 'ab' %}{% for b in 'cd' %}{{ loop.index }}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "{{ ['a', 'b'] | map('upper') | map('lower') | join('+') }}", "{{ \"a\" \"b\" ~ 'c' 'd' }}", "{% set a = 'x' if f %}[{{ a }}]", "{% set a = ('x' if f) + 'y' %}", "{{ ('x' if f) ~ 'y' }}", "{{ '' ~ none ~ true }}", "{% set _ = l | length %}{{ _ }}", "{% set _x = 1 %}{{ _x }}", "{% set \u00e9 = 1 %}{{ \u00e9 }}",
    "{% if i == 7 %}seven{% elif nope.x %}never{% endif %}", "{% if t or nope.x %}short{% endif %}", "{{ t or nope.x }}{{ f and nope.x }}", "{% for a in l if nope.x %}{% endfor %}", "{% for a in nothing if nope.x %}{% else %}fine{% endfor %}", "{{ [nope] }}", "{{ {'a': nope} }}", "{{ (nope,) | length }}", "{{ [nope] | tojson }}",
]


def main():
    env = make_environment()
    templates = [f"{{{{ {line} }}}}" for line in EXPRESSIONS.strip("\n").split("\n") if line] + TEMPLATES
    cases, unstable = [], ("0x", "<generator", "<bound", "<function", "<built-in", "<list_rev", "<dict_", "<jinja2", "<class", "<Cycler", "<method")
    for template in dict.fromkeys(templates):
        made = outcome(env, template, VARIABLES)
        if any(mark in made.get("text", "") for mark in unstable):
            continue  # an address, or an object that only Python has
        cases.append({"template": template} | made)
    whole = {"variables": VARIABLES, "cases": cases}
    path = pathlib.Path(__file__).with_name("jinja.json")
    head = json.dumps(VARIABLES, ensure_ascii=True)
    path.write_text('{"variables": ' + head + ',\n"cases": [\n' + ",\n".join(json.dumps(case) for case in whole["cases"]) + "\n]}\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
