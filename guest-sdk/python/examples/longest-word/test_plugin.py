import unittest

from plugin import Word, longer

from wasmill import testing


class LongestWord(unittest.TestCase):
    def test_the_first_of_the_longest_words_is_kept(self):
        # Of five bytes, four bytes, four bytes: what counts are characters.
        words = ["\u00e9t\u00e9", "four", "be", "five", "or", ""]
        run = testing.reducer(longer, rows=[Word(word) for word in words], groups=[4, 1, 1])
        self.assertEqual(run.rows, [{"word": "four"}, {"word": "or"}, {"word": ""}])
        self.assertFalse(run.plan.invertible)

    def test_the_result_has_the_column_of_the_input(self):
        run = testing.reducer(
            longer,
            rows=[{"word": "long", "name": "a"}, {"word": "x", "name": "bc"}],
            schema={"word": "utf8", "name": "utf8"},
            config={"column": "name"},
        )
        self.assertEqual(run.rows, [{"name": "bc"}])


if __name__ == "__main__":
    unittest.main()
