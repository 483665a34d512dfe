"""Which pages change hands when beam search reorders its sequences."""


def reordered_pages(indices: list[int], pages: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """New owners of pages, each the page of one sequence.

    Parameters
    ----------
    indices : sequence b becomes the old sequence indices[b]
    pages : the page of each old sequence

    Returns
    -------
    The page of each new sequence, and (source, target) old sequences whose pages must be copied first: the first to ask
    for a source takes its page, each further one the page of a dropped sequence. No target is a source.
    """
    dropped = sorted(set(range(len(pages))) - set(indices), reverse=True)
    taken: set[int] = set()
    result, copies = [], []
    for source in indices:
        if source in taken:
            target = dropped.pop()
            copies.append((source, target))
            result.append(pages[target])
        else:
            taken.add(source)
            result.append(pages[source])
    return result, copies
