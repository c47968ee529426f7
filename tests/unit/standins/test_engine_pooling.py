from standins import engine_pooling


def test_equal_texts_have_equal_embeddings_and_others_have_others():
    rows = engine_pooling.embedded(["a", "b", "a"])
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert rows[0]["embedding"] == rows[2]["embedding"] != rows[1]["embedding"]


def test_a_ranking_is_the_scores_in_order_and_no_longer_than_asked():
    documents = [f"document {number}" for number in range(9)]
    scores = {row["index"]: row["score"] for row in engine_pooling.scored("q", documents)}
    rows = engine_pooling.ranked("q", documents, top=4)
    assert [row["relevance_score"] for row in rows] == sorted(scores.values(), reverse=True)[:4]
    assert all(row["document"]["text"] == documents[row["index"]] for row in rows)
    assert len(engine_pooling.ranked("q", documents, None)) == 9


def test_one_text_is_a_list_of_one():
    assert engine_pooling.texts("a") == ["a"]
    assert engine_pooling.texts(["a", "b"]) == ["a", "b"]
