#include "io/channel_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Channel> make_channels() {
  std::vector<Channel> channels;
  for (const char* name : {"blue", "green", "red", "nir", "2"}) channels.push_back({name, ""});
  const double wavelengths[] = {490, 560, 665, 842};
  for (std::size_t i = 0; i < 4; ++i) channels[i].wavelength_nm = wavelengths[i];
  return channels;
}

std::vector<std::int64_t> select(const std::vector<std::string>& selection) {
  return select_channels(make_channels(), selection, "scene.tif");
}

std::string message(const std::vector<std::string>& selection) {
  try {
    select(selection);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ChannelSelection, TakesNamesNumbersAndRanges) {
  EXPECT_THAT(select({}), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(select({"nir", "1"}), ElementsAre(3, 0));
  EXPECT_THAT(select({"3..5"}), ElementsAre(2, 3, 4));
  EXPECT_THAT(select({"green..nir", "blue"}), ElementsAre(1, 2, 3, 0));
  EXPECT_THAT(select({"500nm..700nm"}), ElementsAre(1, 2));
  EXPECT_THAT(select({"490 nm..490.0nm"}), ElementsAre(0));
  EXPECT_THAT(select({"700nm", "500 nm"}), ElementsAre(2, 0));
}

TEST(ChannelSelection, PrefersANameToANumber) {
  EXPECT_THAT(select({"2"}), ElementsAre(4));
}

TEST(ChannelSelection, ExplainsWhatIsWrong) {
  EXPECT_THAT(message({"gren"}),
              AllOf(HasSubstr("scene.tif"), HasSubstr("'gren'"), HasSubstr("did you mean 'green'?"),
                    HasSubstr("available: blue, green, red, nir, 2")));
  EXPECT_THAT(message({"zzzzzz"}), testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(message({"6"}), HasSubstr("no channel 6, only 1..5"));
  EXPECT_THAT(message({"0"}), HasSubstr("no channel 0"));
  EXPECT_THAT(message({"red..gren"}), HasSubstr("unknown channel 'gren'"));
  EXPECT_THAT(message({"nir..red"}), HasSubstr("backwards"));
  EXPECT_THAT(message({"900nm..950nm"}), HasSubstr("490nm..842nm"));
  EXPECT_THAT(message({"1100nm"}), AllOf(HasSubstr("'nir'"), HasSubstr("490nm..842nm")));
  EXPECT_THAT(message({"red", "green..nir"}), HasSubstr("'red' is selected twice"));
  EXPECT_THAT(message({""}), HasSubstr("unknown channel ''"));
}

TEST(ChannelSelection, SaysThatAFileHasNoWavelengths) {
  try {
    select_channels({{"B01", ""}}, {"400nm..500nm"}, "photo.jpg");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the file gives none"));
  }
}

}  // namespace
}  // namespace trib::io
