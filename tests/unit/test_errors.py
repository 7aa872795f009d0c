import pickle

from gambrel.errors import PlanError, Problem


def test_errors_of_a_worker_process_arrive_whole() -> None:
    error = PlanError(Problem(where="plan.tp", what="too many", fix="Use 8"), Problem(where="plan.pp", what="none"))
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is PlanError
    assert (back.problems, str(back)) == (error.problems, str(error))
