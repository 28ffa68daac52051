#include "base/ids.hpp"

#include <gtest/gtest.h>

#include <type_traits>

namespace moesaic {
namespace {

using Row = Id<struct RowTag>;
using Column = Id<struct ColumnTag>;

static_assert(sizeof(Row) == sizeof(std::int32_t) && std::is_trivially_copyable_v<Row>);
static_assert(!std::is_convertible_v<int, Row> && !std::is_convertible_v<Row, int>);
static_assert(!std::is_constructible_v<Row, Column> && !std::is_assignable_v<Row&, Column>);
static_assert(!std::equality_comparable_with<Row, Column>);
static_assert(!std::is_invocable_v<decltype([](Row, Column) {}), Column, Row>, "swapped arguments do not compile");

TEST(Ids, ALoopVisitsThemAscending) {
  std::vector<std::int32_t> values;
  for (const Row row : IdRange(Row(2), Row(5))) values.push_back(row.value());
  EXPECT_EQ(values, (std::vector<std::int32_t>{2, 3, 4}));
  for (const Row row : ids<Row>(0)) ADD_FAILURE() << row.value();
  EXPECT_EQ(IdRange<Row>(Range{2, 5})[1], Row(3));
  EXPECT_TRUE(IdRange(Row(2), Row(5)).contains(Row(4)));
  EXPECT_FALSE(IdRange(Row(2), Row(5)).contains(Row(5)));
}

TEST(Ids, AVectorIsIndexedByItsSpace) {
  IdVector<Column, int> widths(2, 7);
  widths[Column(1)] = 9;
  widths.push_back(11);
  EXPECT_EQ(widths.ids().values(), (Range{0, 3}));
  int sum = 0;
  for (const Column column : widths.ids()) sum += widths[column];
  EXPECT_EQ(sum, 27);
}

}  // namespace
}  // namespace moesaic
