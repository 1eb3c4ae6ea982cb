"""Plans which examples share a row."""


def best_fit(lengths: list[int], row_length: int) -> list[list[int]]:
    """Rows of places whose lengths add up to at most `row_length`: best-fit decreasing.

    Each example, the longest first, goes into the row in which it leaves the least room (Ding et al. 2024,
    arXiv:2404.10830, section 3). Rows with equal room are kept together and the rooms as bits of one integer, so that
    the best room is found without a search: O(n) steps. Raises ValueError for a length over `row_length`.
    """
    if max(lengths, default=0) > row_length:
        raise ValueError(f"an example of {max(lengths)} tokens does not fit a row of {row_length}")
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(row_length + 1)]
    rooms = 0  # bit r: some row has room for exactly r more tokens
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[place]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            room, row = row_length, len(rows)
            rows.append([])
        rows[row].append(place)
        by_room[room - length].append(row)
        rooms |= 1 << (room - length)
    return rows


def waste(lengths: list[int], rows: list[list[int]], row_length: int) -> float:
    """The share of tokens that are padding where every row is filled up to `row_length`."""
    return 1 - sum(lengths) / (len(rows) * row_length) if rows else 0.0
