import unittest

from plugin import Line, split

from wasmill import Error, testing


class SplitWords(unittest.TestCase):
    def test_every_word_knows_its_line(self):
        run = testing.transform(split, rows=[Line("to be or"), Line(""), Line("  not\tto be ")])
        self.assertEqual([row["word"] for row in run.rows()], ["to", "be", "or", "not", "to", "be"])
        self.assertEqual(run.parents(), [0, 0, 0, 2, 2, 2])

    def test_only_blanks_of_ascii_part_words(self):
        run = testing.transform(split, rows=[Line("a\xa0b c\vd\r\ne"), Line("\u2003\u00e9t\u00e9\f")])
        self.assertEqual([row["word"] for row in run.rows()], ["a\xa0b", "c\vd", "e", "\u2003\u00e9t\u00e9"])

    def test_words_keep_the_other_columns_when_asked(self):
        run = testing.transform(
            split,
            rows=[{"id": 7, "message": "a b"}],
            schema={"id": "int64", "message": "utf8?"},
            config={"column": "message", "carry": True},
        )
        line = {"id": 7, "message": "a b"}
        self.assertEqual(run.rows(), [line | {"word": "a"}, line | {"word": "b"}])

    def test_a_line_that_is_null_is_rejected(self):
        run = testing.transform(split, rows=[{"line": None}, {"line": "a"}], schema={"line": "utf8?"})
        self.assertEqual(run.rejected, [(0, "column `line` is null")])
        self.assertEqual(run.parents(), [1])

    def test_a_column_that_is_not_there_is_named(self):
        with self.assertRaises(Error) as typo:
            testing.transform(split, schema={"message": "utf8"}, config={"column": "mesage"})
        self.assertEqual(
            typo.exception.message,
            "`column` names column `mesage`, which the input does not have; did you mean `message`?",
        )
        with self.assertRaises(Error) as no_text:
            testing.transform(split, schema={"n": "int64"})
        self.assertEqual(
            no_text.exception.message, "the plugin reads a column of type utf8, and the input has none: `n` int64"
        )


if __name__ == "__main__":
    unittest.main()
