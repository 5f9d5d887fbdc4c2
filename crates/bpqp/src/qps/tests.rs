use super::*;
use crate::Settings;

/// Every section in free format.
const FREE: &str = "* a comment\nNAME small one\nOBJSENSE\n    MAX\nROWS\n N cost\n E e1\n L l1\n G g1\n E e2\n N other\n
COLUMNS\n x cost 1.0 e1 1\n x l1 2 g1 3\n y cost -2.5 e1 1\n y other 7\n z e2 1\nRHS\n RHS cost -4 e1 1\n RHS l1 5 g1 1\n RHS e2 2\n
RANGES\n R l1 2 g1 1\n R e2 -3\nBOUNDS\n UP B x -1\n FR B y\n LO B z 1\n UP B z 1e30\nQUADOBJ\n x x -2\n x y 1\n y y -4\nENDATA\n";

#[test]
fn what_is_written_reads_back() {
    let form = |qp: &Qp| {
        format!(
            "{:?}",
            (qp.q(), qp.b(), qp.h(), qp.lb(), qp.ub(), qp.a().to_dense(), qp.g().to_dense(), qp.p().to_dense())
        )
    };
    let file = parse(FREE).expect("valid");
    let own = Qp::new(faer::mat![[2.0, 1.0 / 3.0], [1.0 / 3.0, 1e-7]], vec![0.1, -0.0]).expect("valid");
    let own = own.inequality(faer::mat![[1.0, 0.0], [0.7, -1e300]], vec![f64::INFINITY, -2.5]).expect("valid");
    let own = own.bounds(vec![-1.0, f64::NEG_INFINITY], vec![f64::INFINITY, -3.0]).expect("valid");
    let (columns, equalities, inequalities) = (vec![], vec![], vec!["a b".to_owned(), "c".to_owned()]);
    let bare = Qps { name: String::new(), qp: own, constant: 0.0, maximize: false, columns, equalities, inequalities };
    for file in [file, bare] {
        let text = write(&file).expect("no cones");
        let again = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(form(&again.qp), form(&file.qp), "{text}");
        assert_eq!((again.constant, again.maximize), (file.constant, file.maximize));
    }
}

#[test]
fn reads_every_section() {
    let file = parse(FREE).expect("valid");
    assert_eq!((file.name.as_str(), file.maximize, file.constant, file.objective(3.0)), ("small one", true, 4.0, 1.0));
    assert_eq!(file.columns, ["x", "y", "z"]);
    assert_eq!(
        (&file.equalities[..], &file.inequalities[..]),
        (&["e1".to_owned()][..], &["l1", "l1", "g1", "g1", "e2", "e2"].map(String::from)[..])
    );
    let qp = &file.qp;
    assert_eq!((qp.q(), qp.b()), (&[-1.0, 2.5, 0.0][..], &[1.0][..]));
    assert_eq!(qp.h(), [5.0, -3.0, 2.0, -1.0, 2.0, 1.0]);
    let g = qp.g().to_dense();
    assert_eq!([g[(0, 0)], g[(1, 0)], g[(2, 0)], g[(3, 0)], g[(4, 2)], g[(5, 2)]], [2.0, -2.0, 3.0, -3.0, 1.0, -1.0]);
    let free = f64::NEG_INFINITY;
    assert_eq!((qp.lb(), qp.ub()), (&[free, free, 1.0][..], &[-1.0, -free, -free][..]));
    let p = qp.p().to_dense();
    assert_eq!([p[(0, 0)], p[(0, 1)], p[(1, 0)], p[(1, 1)]], [2.0, -1.0, -1.0, 4.0]);
    // all of Q, and one vector without a name
    let full = FREE.replace("QUADOBJ", "QMATRIX").replace(" x y 1\n", " x y 1\n y x 1\n").replace(" R ", " ");
    let again = parse(&full).expect("valid");
    assert_eq!((again.qp.p().to_dense(), again.qp.h()), (p, qp.h()));
}

#[test]
fn reads_fixed_format_with_spaces_in_names() {
    let text = "NAME          QP\nROWS\n N  obj\n L  row one\nCOLUMNS\n    col a     obj       1.0            row one   1.0\n    col b     row one   2.0D0\n
RHS\n    rhs       row one   4.0\nBOUNDS\n UP bnd       col a     3.0\nQSECTION      obj\n    col a     col a     1.0\nENDATA\n";
    let file = parse(text).expect("valid");
    assert_eq!(
        (&file.columns[..], file.qp.h(), file.qp.ub()[0]),
        (&["col a".to_owned(), "col b".to_owned()][..], &[4.0][..], 3.0)
    );
    assert_eq!(file.qp.g().to_dense()[(0, 1)], 2.0);
    let error = parse(&text.replace("2.0D0", "2.0X0")).expect_err("no number").to_string();
    assert!(error.starts_with("line 7: expected a number, found \"2.0X0\""), "{error}");
}

#[test]
fn refuses_what_it_cannot_read_with_the_line() {
    let start = "ROWS\n N c\n L r\nCOLUMNS\n x c 1 r 1\n y c 1\n";
    for (text, expected) in [
        ("", "line 1: the file ends without ENDATA"),
        ("ROWS\n N c\nCOLUMNS\nENDATA\n", "line 4: the file declares no columns"),
        ("ROWS\n L r\nCOLUMNS\n x r 1\nENDATA\n", "no row of type N"),
        ("COLUMNS\n", "line 1: the section COLUMNS stands before ROWS"),
        ("ROWS\n Q c\n", "line 2: the type \"Q\" of a row"),
        ("ROWS\n N c\n L c\n", "line 3: the row c is there twice (in section ROWS)"),
        ("WHAT\n", "line 1: no section \"WHAT\""),
        (" x\n", "line 1: \"x\" belongs to no section"),
        ("OBJSENSE\n  BEST\n", "line 2: the sense \"BEST\""),
        (
            &format!("{start} x r 2\nENDATA\n"),
            "line 7: the entry of the row r and the column x is there twice, first in line 5",
        ),
        (&format!("{start} x s 2\n"), "line 7: no row \"s\" (in section COLUMNS)"),
        (&format!("{start} x r inf\n"), "line 7: expected a finite number"),
        (&format!("{start} x r nan\n"), "line 7: expected a number"),
        (&format!("{start} x r\n"), "line 7: a line has the name of a column"),
        (&format!("{start} m 'MARKER' 'INTORG'\n"), "line 7: integer variables"),
        (&format!("{start}ROWS\n"), "line 7: the section ROWS is there twice, first in line 1"),
        (&format!("{start}RHS\n A r 1\n B c 1\n"), "line 9: a second vector \"B\" beside \"A\""),
        (&format!("{start}RHS\n A r 1 r 2\n"), "line 8: the row r is there twice"),
        (&format!("{start}RANGES\n A c 1\n"), "line 8: a range of the row c"),
        (&format!("{start}BOUNDS\n BV B x\n"), "line 8: a bound of type BV: only continuous"),
        (&format!("{start}BOUNDS\n UP B x\n"), "line 8: expected a number, found \"x\""),
        (&format!("{start}BOUNDS\n UP B w 1\n"), "line 8: no column \"w\""),
        (&format!("{start}BOUNDS\n UP B x 1\n UP B x 2\n"), "line 9: that bound of x is there twice, first in line 8"),
        (&format!("{start}BOUNDS\n LO B x 3\n UP B x 2\nENDATA\n"), "line 9: x: 3 to 2 leaves no value"),
        (&format!("{start}QUADOBJ\n x y 1\n y x 1\nENDATA\n"), "line 9: the quadratic entry of x and y is there twice"),
        (
            &format!("{start}QMATRIX\n x y 1\nENDATA\n"),
            "line 8: the quadratic entry of y and x is 1, its mirror image 0",
        ),
        (&format!("{start}QSECTION r\n"), "line 7: a quadratic form of the row r"),
        (&format!("{start}QCMATRIX r\n"), "line 7: the section QCMATRIX"),
        (&format!("{start}RHS\n r 1e20\n"), "line 8: the file ends without ENDATA"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_small_problem_is_solved() {
    // QPTEST of the description of the format by Maros and Meszaros: the optimum is 8.371875
    let text = "NAME          QPTEST\nROWS\n N  obj\n G  r1\n L  r2\nCOLUMNS\n    c1        r1        2.0            r2        -1.0\n    c1        obj       1.5\n
    c2        r1        1.0            r2        2.0\n    c2        obj       -2.0\nRHS\n    rhs1      r1        2.0            r2        6.0\n
    rhs1      obj       -4.0\nBOUNDS\n UP bnd1      c1        20.0\nQUADOBJ\n    c1        c1        8.0\n    c1        c2        2.0\n    c2        c2        10.0\nENDATA\n";
    let file = parse(text).expect("valid");
    let solution = file.qp.solve(&Settings::default()).expect("valid");
    assert!((file.objective(solution.objective) - 8.371_875).abs() < 1e-8, "{}", file.objective(solution.objective));
}
