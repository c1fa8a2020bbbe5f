#include "cli/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "base/elementary.h"
#include "base/utf8.h"
#include "cli/ticks.h"

namespace lora::cli {

namespace {

constexpr double kWidth = 960, kMargin = 24;
constexpr double kText = 13, kRow = 24, kEndRow = 16;  // size of text; rows of the legend, of values at ends
constexpr double kPanelTitle = 34, kTickLength = 5;    // above a panel
constexpr double kRing = 3.5;
constexpr double kLeastMinor = 7;  // between lines of the grid
constexpr double kLogRoom = 1e3;   // times so much beyond the rest is shown on a logarithmic axis
constexpr size_t kMostRings = 60;  // of a line: more would run into one another

struct Colors {
  const char *background, *ink, *muted, *axis, *grid, *minor;
  std::array<const char*, kMostColors> lines;
};
// Okabe and Ito's palette without its yellow, which is too pale on white.
constexpr Colors kLight = {"#ffffff",
                           "#1f2328",
                           "#59636e",
                           "#8c959f",
                           "#e1e5ea",
                           "#f2f4f6",
                           {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#444444", "#56b4e9", "#e69f00"}};
// The same hues, as far apart on a dark ground.
constexpr Colors kDark = {"#14181d",
                          "#e6edf3",
                          "#9aa5b1",
                          "#5b6672",
                          "#2b323a",
                          "#1e242a",
                          {"#3b8be0", "#e8632c", "#14a577", "#e08cc0", "#ffffff", "#8fd6ff", "#f5c04a"}};
constexpr std::array<const char*, 3> kDashes = {"", " stroke-dasharray=\"9 3\"", " stroke-dasharray=\"2 3\""};

std::string rules(const Colors& colors) {
  std::string result = fmt::format(
      "text{{fill:{1}}}.muted{{fill:{2}}}.ground{{fill:{0}}}.ring{{fill:{0}}}.halo{{stroke:{0}}}"
      ".axis{{stroke:{3}}}.grid{{stroke:{4}}}.minor{{stroke:{5}}}.grey{{color:{2}}}",
      colors.background, colors.ink, colors.muted, colors.axis, colors.grid, colors.minor);
  for (size_t i = 0; i < kMostColors; ++i) result += fmt::format(".c{}{{color:{}}}", i, colors.lines[i]);
  return result;
}

std::string style(Theme theme) {
  std::string result =
      "text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,Helvetica,Arial,sans-serif;"
      "font-size:13px;font-variant-numeric:tabular-nums}"
      ".title{font-size:17px;font-weight:600}.head{font-weight:600}.small{font-size:12px}"
      "path{fill:none}.strong,.dots,.faint{stroke:currentColor;stroke-linejoin:round;stroke-linecap:round}"
      ".strong{stroke-width:2}.dots{stroke-width:1.5}.faint{stroke-width:1;stroke-opacity:.32}"
      ".ring{stroke:currentColor;stroke-width:1.8}.disc{fill:currentColor;stroke-width:2}"
      ".guide{stroke:currentColor;stroke-opacity:.8;stroke-dasharray:2 4}"
      ".leader{stroke:currentColor;stroke-opacity:.6}"
      ".beyond{fill:currentColor}"
      "text.halo{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}\n";
  result += rules(theme == Theme::dark ? kDark : kLight);
  if (theme == Theme::automatic)
    result += fmt::format("\n@media (prefers-color-scheme:dark){{{}}}", rules(kDark));
  return result;
}

// As XML has it, which knows neither control characters nor U+FFFE and U+FFFF.
std::string escaped(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '"') {
      result += "&quot;";
    } else if (text.substr(i).starts_with("\xEF\xBF\xBE") || text.substr(i).starts_with("\xEF\xBF\xBF")) {
      result += '?';
      i += 2;
    } else {
      result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

// About as wide as a wide sans-serif face makes it: which one draws it is not known.
double width_of(std::string_view text, double size = kText) {
  double width = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      width += byte >= 0xe0 ? 1.0 : byte >= 0xc0 ? 0.65 : 0;  // East Asian letters have three bytes
    } else {
      width += std::string_view("ijl.,:;'|!ft()[] ").find(c) != std::string_view::npos ? 0.38
               : std::string_view("mwMW@%").find(c) != std::string_view::npos          ? 0.95
                                                                                       : 0.63;
    }
  }
  return width * size;
}

// With "…" in its middle where it is wider.
std::string fitting(const std::string& text, double width, double size = kText) {
  if (width_of(text, size) <= width) return text;
  const auto is_inside = [&](size_t at) { return at < text.size() && (text[at] & 0xc0) == 0x80; };
  for (size_t kept = text.size() / 2; kept > 0; --kept) {
    size_t head = kept, tail = text.size() - kept;
    while (head > 0 && is_inside(head)) --head;
    while (is_inside(tail)) ++tail;
    const std::string cut = text.substr(0, head) + "…" + text.substr(tail);
    if (width_of(cut, size) <= width) return cut;
  }
  return "…";
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return !(low <= high); }
};

// Never of no width, so that one can divide by it.
Range widened(Range range) {
  if (range.is_empty()) return {0, 1};
  // What differs by rounding alone is one value: ticks between would be, too.
  const double most = std::max(std::abs(range.low), std::abs(range.high));
  if (range.high - range.low <= 1e-9 * most || range.low == range.high) {
    const double by = most == 0 ? 1 : most / 10;
    return {range.low - by, range.high + by};
  }
  return range;
}

bool can_show(const Panel& panel, double y) {
  return panel.axis != ValueAxis::log || y > 0;
}

Range shown(const Panel& panel) {
  Range range;
  std::vector<double> faint;
  for (const Line& line : panel.lines) {
    std::optional<double> last;
    for (const auto& [x, y] : line.points) {
      if (!can_show(panel, y)) continue;
      if (line.stroke == Stroke::faint) {
        faint.push_back(y);
      } else if (line.stroke == Stroke::dots || !last) {
        range.add(y);
      }
      last = y;
    }
    if (last && line.stroke != Stroke::faint) range.add(*last);
  }
  const bool has_faint = !faint.empty();
  // A strong line is the course of a faint one, where there is one: it may be cut where that is.
  for (const Line& line : panel.lines) {
    if (has_faint || line.stroke != Stroke::strong) continue;
    for (const auto& [x, y] : line.points) {
      if (can_show(panel, y)) range.add(y);
    }
  }
  for (const Mark& mark : panel.marks) {
    if (can_show(panel, mark.y)) range.add(mark.y);
  }
  if (has_faint) {
    std::ranges::sort(faint);
    const auto place = [&](double y) { return panel.axis == ValueAxis::log ? elementary::log(y) : y; };
    const double low = faint[faint.size() / 100], high = faint[faint.size() - 1 - faint.size() / 50];
    range.add(low);
    range.add(high);
    // What is not far outside is not worth a cut.
    double room = 0.7 * (place(range.high) - place(range.low));
    if (panel.axis == ValueAxis::log) room = std::max(room, elementary::log(kLogRoom));
    const double lowest = place(range.low) - room, highest = place(range.high) + room;
    range.add(*std::ranges::find_if(faint, [&](double y) { return place(y) >= lowest; }));
    range.add(*std::find_if(faint.rbegin(), faint.rend(), [&](double y) { return place(y) <= highest; }));
  }
  return range;
}

Scale value_scale(const Panel& panel) {
  Range range = shown(panel);
  if (panel.axis == ValueAxis::log) {
    if (range.is_empty()) range = {1, 10};
    if (range.high / range.low < 1 + 1e-9) range = {range.low / 1.5, range.high * 1.5};
    const double margin = elementary::pow(range.high / range.low, 0.05);
    return {range.low / margin, range.high * margin, true};
  }
  if (panel.axis == ValueAxis::linear_from_zero) {
    if (range.is_empty() || (range.low == 0 && range.high == 0)) range = {0, 1};
    range.add(0);
  }
  range = widened(range);
  const double margin = 0.06 * (range.high - range.low);
  return {panel.axis == ValueAxis::linear_from_zero && range.low >= 0 ? range.low : range.low - margin,
          range.high + margin};
}

// Of the points that fall into one column of pixels the first, the last, the lowest and the highest: nobody
// sees the others.
template <class Place>
Points thinned(const Points& points, const Place& place) {
  if (points.size() < 4) return points;
  Points result;
  const auto column = [&](size_t i) { return std::floor(place(points[i]).first); };
  for (size_t begin = 0, end; begin < points.size(); begin = end) {
    size_t low = begin, high = begin;
    for (end = begin; end < points.size() && column(end) == column(begin); ++end) {
      if (points[end].second < points[low].second) low = end;
      if (points[end].second > points[high].second) high = end;
    }
    std::array<size_t, 4> kept = {begin, std::min(low, high), std::max(low, high), end - 1};
    for (size_t i = 0; i < kept.size(); ++i) {
      if (i == 0 || kept[i] != kept[i - 1]) result.push_back(points[kept[i]]);
    }
  }
  return result;
}

struct Box {
  double left, top, right, bottom;
  bool meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool holds(double x, double y) const { return left <= x && x <= right && top <= y && y <= bottom; }
};

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    Range x;
    for (const Panel& panel : chart.panels) {
      scales_.push_back(value_scale(panel));
      for (const Line& line : panel.lines) {
        for (const auto& point : line.points) x.add(point.first);
      }
      for (const Mark& mark : panel.marks) x.add(mark.x);
    }
    // A run begins at 0, unless it is the later part of one.
    if (x.low > 0 && x.low <= 0.1 * x.high) x.low = 0;
    if (x.low == x.high && x.low > 0) x.low = 0;
    x = widened(x);
    x_ = {x.low, x.high};
    double widest_tick = 0, widest_end = 0;
    for (size_t i = 0; i < chart.panels.size(); ++i) {
      y_ticks_.push_back(ticks(scales_[i], std::max(4, int(chart.panels[i].height / 48))));
      for (const Tick& tick : y_ticks_.back()) widest_tick = std::max(widest_tick, width_of(tick.text));
      for (const Line& line : chart.panels[i].lines) {
        if (line.names_its_end && !line.points.empty())
          widest_end = std::max(widest_end, width_of(number_text(line.points.back().second)));
      }
    }
    left_ = std::max(56.0, kMargin + widest_tick + 10);
    right_ = kWidth - kMargin - (widest_end > 0 ? widest_end + 27 : 0);
    x_ticks_ = ticks({x_.low, x_.high}, 9, chart.x_whole);
  }

  Picture picture() {
    double top = kMargin - 4;
    if (!chart_.title.empty()) {
      top += 16;
      text(left_, top, "start", fitting(chart_.title, right_ - left_, 17), "title");
      top += 6;
    }
    top = legend(top);
    for (size_t i = 0; i < chart_.panels.size(); ++i) {
      top += kPanelTitle;
      panel(i, top);
      top += chart_.panels[i].height;
    }
    const double height = std::ceil(top + 60);
    text((left_ + right_) / 2, top + 44, "middle", chart_.x_title, "muted");
    return {fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
                        "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" aria-labelledby=\"about\">\n"
                        "<desc id=\"about\">{2}</desc>\n<style>{3}</style>\n"
                        "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{4}</svg>\n",
                        kWidth, height, escaped(chart_.description), style(chart_.theme), out_),
            kWidth, height};
  }

 private:
  double x_at(double x) const { return left_ + x_.share(x) * (right_ - left_); }

  void text(double x, double y, std::string_view anchor, std::string_view what, std::string_view classes) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor,
                        classes.empty() ? "" : fmt::format(" class=\"{}\"", classes), escaped(what));
  }
  static std::string color_class(int hue) {
    return hue < 0 ? "grey" : fmt::format("c{}", size_t(hue) % kMostColors);
  }
  static std::string_view dashes(int hue) {
    return hue < 0 ? "" : kDashes[size_t(hue) / kMostColors % kDashes.size()];
  }
  static std::string_view class_of(Stroke stroke) {
    return stroke == Stroke::strong ? "strong" : stroke == Stroke::faint ? "faint" : "dots";
  }
  std::string ring(double x, double y) const {
    return fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"/>", x, y, kRing);
  }

  // A short piece of such a line, 24 long.
  void sample(double x, double y, Stroke stroke, int hue) {
    out_ += fmt::format("<g class=\"{}\"><path class=\"{}\" d=\"M{:.1f} {:.1f}h24\"{}/>", color_class(hue),
                        class_of(stroke), x, y, dashes(hue));
    if (stroke == Stroke::dots) out_ += ring(x + 12, y);
    out_ += "</g>\n";
  }

  // Returns where it ends.
  double legend(double top) {
    if (chart_.legend.empty()) return top;
    double x = left_, y = top + kRow - 4;
    bool in_grey = chart_.legend.front().hue < 0;
    for (const LegendEntry& entry : chart_.legend) {
      const std::string name = fitting(entry.text, right_ - left_ - 32);
      const double width = 32 + width_of(name);
      // What the kinds of lines are is read apart from whose they are.
      if (x > left_ && (x + width > right_ || (entry.hue < 0 && !in_grey))) {
        x = left_;
        y += kRow - 2;
      }
      in_grey = entry.hue < 0;
      sample(x, y - 4.5, entry.stroke, entry.hue);
      text(x + 32, y, "start", name, entry.hue < 0 ? "muted" : "");
      x += width + 22;
    }
    return y + 2;
  }

  void panel(size_t number, double top) {
    const Panel& panel = chart_.panels[number];
    const Scale& scale = scales_[number];
    const double bottom = top + panel.height;
    const bool is_last = number + 1 == chart_.panels.size();
    const auto place = [&](const std::pair<double, double>& point) {
      return std::pair(x_at(point.first), bottom - scale.share(point.second) * panel.height);
    };
    text(left_, top - 11, "start", panel.title + (scale.log ? ", log scale" : ""), "head");
    std::string minor, major;
    for (const Tick& tick : x_ticks_) {
      const double x = x_at(tick.value);
      (tick.text.empty() ? minor : major) += fmt::format("M{:.1f} {:.1f}V{:.1f}", x, top, bottom);
      if (tick.text.empty() || !is_last) continue;
      out_ += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}v{}\"/>\n", x, bottom, kTickLength);
      text(x, bottom + 21, "middle", tick.text, "muted");
    }
    const std::vector<Tick>& y_ticks = y_ticks_[number];
    const auto y_of = [&](const Tick& tick) { return place({x_.low, tick.value}).second; };
    double least = panel.height;
    for (size_t i = 1; i < y_ticks.size(); ++i)
      least = std::min(least, y_of(y_ticks[i - 1]) - y_of(y_ticks[i]));
    const bool is_dense = least < (scale.log ? kLeastMinor / 2 : kLeastMinor);
    for (const Tick& tick : y_ticks) {
      if (tick.text.empty() && is_dense) continue;
      const double y = y_of(tick);
      (tick.text.empty() ? minor : major) += fmt::format("M{:.1f} {:.1f}H{:.1f}", left_, y, right_);
      if (!tick.text.empty()) text(left_ - 9, y + 4.5, "end", tick.text, "muted");
    }
    out_ += fmt::format("<path class=\"minor\" d=\"{}\"/>\n<path class=\"grid\" d=\"{}\"/>\n", minor, major);
    out_ += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left_, bottom, right_);
    out_ += fmt::format(
        "<clipPath id=\"panel{0}\"><rect x=\"{1:.1f}\" y=\"{2:.1f}\" width=\"{3:.1f}\" height=\"{4:.1f}\"/>"
        "</clipPath>\n<g clip-path=\"url(#panel{0})\">\n",
        number, left_ - 5, top - 5, right_ - left_ + 10, panel.height + 10);
    Points course;  // what words should not lie upon
    std::vector<Line> drawn;
    for (const Line& line : panel.lines) {
      Line& shown_line = drawn.emplace_back(line);
      std::erase_if(shown_line.points, [&](const auto& point) { return !can_show(panel, point.second); });
      shown_line.points = thinned(shown_line.points, place);
      for (auto& point : shown_line.points) point = place(point);
      if (line.stroke != Stroke::faint) add_course(course, shown_line.points);
    }
    // What is faint lies below what is not.
    for (const Stroke stroke : {Stroke::faint, Stroke::strong, Stroke::dots}) {
      for (size_t i = 0; i < drawn.size(); ++i) {
        if (drawn[i].stroke == stroke) curve(drawn[i], panel.lines[i]);
      }
    }
    out_ += "</g>\n";
    words_.clear();
    beyond(panel, place, top, bottom);
    for (const Mark& mark : panel.marks) {
      if (can_show(panel, mark.y)) draw_mark(mark, place({mark.x, mark.y}), course, top, bottom);
    }
    ends(panel, place, top, bottom);
  }

  // Points at most 4 apart on a line's way.
  static void add_course(Points& course, const Points& line) {
    for (size_t i = 0; i < line.size(); ++i) {
      course.push_back(line[i]);
      if (i + 1 == line.size()) break;
      const double dx = line[i + 1].first - line[i].first, dy = line[i + 1].second - line[i].second;
      const int n = int(std::min(300.0, std::sqrt(dx * dx + dy * dy) / 4));
      for (int k = 1; k <= n; ++k)
        course.emplace_back(line[i].first + dx * k / (n + 1), line[i].second + dy * k / (n + 1));
    }
  }

  // line: in pixels; source: what it was made of.
  void curve(const Line& line, const Line& source) {
    if (line.points.empty()) return;
    std::string path;
    for (const auto& [x, y] : line.points) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, std::clamp(y, -9e3, 9e3));
    }
    const int hue = int(line.hue);
    out_ += fmt::format("<g class=\"{}\"><path class=\"{}\" d=\"{}\"{}/>", color_class(hue),
                        class_of(line.stroke), path, dashes(hue));
    // A line of one point is none.
    if (line.points.size() == 1 || (line.stroke == Stroke::dots && source.points.size() <= kMostRings)) {
      for (const auto& [x, y] : line.points) out_ += ring(x, std::clamp(y, -9e3, 9e3));
    }
    out_ += "</g>\n";
  }

  // Where faint lines leave the panel: an arrowhead each 6 pixels at most, and the value that is farthest
  // off.
  template <class Place>
  void beyond(const Panel& panel, const Place& place, double top, double bottom) {
    for (const bool above : {true, false}) {
      const double edge = above ? top : bottom, tip = above ? -5 : 5;
      std::pair<double, double> farthest;
      bool any = false;
      for (const Line& line : panel.lines) {
        if (line.stroke != Stroke::faint) continue;
        double last = -1e9;
        std::string heads;
        for (const auto& point : line.points) {
          if (!can_show(panel, point.second)) continue;
          const auto [x, y] = place(point);
          if (above ? y >= top - 1 : y <= bottom + 1) continue;
          if (x - last >= 6) {
            heads += fmt::format("M{:.1f} {:.1f}l-3.5 {}h7z", x, edge + tip, -tip);
            last = x;
          }
          if (!any || (above ? point.second > farthest.second : point.second < farthest.second))
            farthest = point;
          any = true;
        }
        if (heads.empty()) continue;
        out_ += fmt::format("<g class=\"{}\"><path class=\"beyond\" d=\"{}\"/></g>\n",
                            color_class(int(line.hue)), heads);
      }
      if (!any) continue;
      const std::string word =
          fmt::format("{} {}", above ? "up to" : "down to", number_text(farthest.second));
      const double x = place(farthest).first, width = width_of(word, 12);
      put_word(x + 8 + width > right_ ? x - 8 - width : x + 8, edge + (above ? 12 : -4), word);
    }
  }

  // A word of the size 12 whose line begins at (x, y).
  void put_word(double x, double y, const std::string& word) {
    text(x, y, "start", word, "small halo");
    words_.push_back(box_of(x, y, word));
  }
  static Box box_of(double x, double y, std::string_view word) {
    return {x - 2, y - 11, x + width_of(word, 12) + 2, y + 3};
  }

  void draw_mark(const Mark& mark, std::pair<double, double> at, const Points& course, double top,
                 double bottom) {
    const auto [x, y] = at;
    out_ += fmt::format("<g class=\"{}\">", color_class(mark.hue));
    if (mark.guided) out_ += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", x, y, bottom);
    out_ += fmt::format("<circle class=\"disc halo\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5.5\"/></g>\n", x, y);
    if (mark.text.empty()) return;
    const double width = width_of(mark.text, 12);
    std::optional<std::pair<double, double>> best;
    double least = std::numeric_limits<double>::infinity();
    // Near it, where least lies below: the farther, the less it is clear whose word it is.
    for (const double distance : {0.0, 14.0, 28.0, 46.0}) {
      for (const auto& [dx, dy] : {std::pair{-width / 2, 21 + distance},
                                   {-width / 2, -12 - distance},
                                   {11.0, 4.0 + distance},
                                   {-11 - width, 4.0 + distance},
                                   {11.0, 4.0 - distance},
                                   {-11 - width, 4.0 - distance}}) {
        const Box box = box_of(x + dx, y + dy, mark.text);
        double cost = distance / 3;
        if (box.left < left_ || box.right > right_ || box.top < top || box.bottom > bottom - 2) cost += 1000;
        for (const Box& other : words_) cost += box.meets(other) ? 500 : 0;
        for (const auto& point : course) cost += box.holds(point.first, point.second) ? 3 : 0;
        if (mark.guided && box.left < x && x < box.right && box.bottom > y) cost += 8;
        if (cost < least) {
          least = cost;
          best = {x + dx, y + dy};
        }
      }
    }
    put_word(best->first, best->second, mark.text);
  }

  // The last values at the panel's right, in the order of their heights and none upon another. One text for
  // ends that are the same.
  template <class Place>
  void ends(const Panel& panel, const Place& place, double top, double bottom) {
    struct End {
      double x, y, at;  // of the line's end; y of the text
      std::string text;
      int hue;
      Stroke stroke;
    };
    std::vector<End> all;
    for (const Line& line : panel.lines) {
      if (!line.names_its_end || line.points.empty() || !can_show(panel, line.points.back().second)) continue;
      const double value = line.points.back().second;
      const double x = x_at(line.points.back().first),
                   y = std::clamp(place({x_.high, value}).second, top, bottom);
      all.push_back({x, y, y, number_text(value), int(line.hue), line.stroke});
    }
    std::ranges::stable_sort(all, {}, &End::y);
    std::vector<End> shown_ends;
    for (End& end : all) {
      if (!shown_ends.empty() && shown_ends.back().text == end.text &&
          shown_ends.back().stroke == end.stroke) {
        shown_ends.back().hue = -1;
      } else {
        shown_ends.push_back(std::move(end));
      }
    }
    const auto n = double(shown_ends.size());
    const double row = std::min(kEndRow, n > 1 ? (bottom - top + kText) / (n - 1) : kEndRow);
    for (size_t i = 1; i < shown_ends.size(); ++i)
      shown_ends[i].at = std::max(shown_ends[i].at, shown_ends[i - 1].at + row);
    for (size_t i = shown_ends.size(); i-- > 0;)
      shown_ends[i].at = std::min(shown_ends[i].at, bottom + 4 - row * double(shown_ends.size() - 1 - i));
    for (const End& end : shown_ends) {
      out_ += fmt::format("<g class=\"{}\">", color_class(end.hue));
      if (end.x < right_ - 1) {
        out_ += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", end.x, end.y, right_);
      }
      if (std::abs(end.y - end.at) > 1) {
        out_ += fmt::format("<path class=\"leader\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", right_ + 3, end.y,
                            right_ + 10, end.at);
      }
      out_ += end.stroke == Stroke::dots ? ring(right_ + 16, end.at)
                                         : fmt::format("<path class=\"strong\" d=\"M{:.1f} {:.1f}h9\"{}/>",
                                                       right_ + 11.5, end.at, dashes(end.hue));
      out_ += "</g>\n";
      text(right_ + 25, end.at + 4.5, "start", end.text, "end");
    }
  }

  const Chart& chart_;
  Scale x_;
  std::vector<Scale> scales_;
  std::vector<std::vector<Tick>> y_ticks_;
  std::vector<Tick> x_ticks_;
  double left_ = 0, right_ = 0;
  std::vector<Box> words_;  // in the panel that is being drawn
  std::string out_;
};

}  // namespace

std::pair<double, double> values_to_show(const Panel& panel) {
  const Range range = shown(panel);
  return range.is_empty() ? std::pair(0.0, 1.0) : std::pair(range.low, range.high);
}

Picture draw(const Chart& chart) {
  return Drawing(chart).picture();
}

}  // namespace lora::cli
