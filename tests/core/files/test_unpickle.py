"""The restricted unpickler: data comes through, anything else is refused by name."""

import base64
import os
import pickle
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from posesyn_core.errors import UserError
from posesyn_core.files.unpickle import load_pickle, read_pickle


class _RunsACommand:
    def __reduce__(self):
        return os.system, ("echo unpickled > hacked",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_through(tmp_path: Path, protocol: int) -> None:
    data = {"a": np.arange(6.0).reshape(2, 3), "b": [np.float32(2), ("x", b"y", {1, 2})], "c": np.dtype("int16")}
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(data, protocol))
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded.pop("a"), data.pop("a"))
    assert loaded == data


@pytest.mark.parametrize("name", ["csc_matrix", "csr_matrix", "coo_matrix"])
def test_sparse_matrices_come_through_under_their_old_names(tmp_path: Path, name: str) -> None:
    matrix = getattr(sparse, name)(np.eye(3))
    path = tmp_path / "matrix.pkl"
    current, old = f"cscipy.sparse._{name[:3]}\n", f"cscipy.sparse.{name[:3]}\n"
    content = pickle.dumps(matrix, 2)
    assert current.encode() in content
    path.write_bytes(content.replace(current.encode(), old.encode()))
    np.testing.assert_array_equal(load_pickle(path).toarray(), np.eye(3))


@pytest.mark.parametrize("nested", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool) -> None:
    monkeypatch.chdir(tmp_path)
    attack = _RunsACommand()
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": np.zeros(3), "f": attack} if nested else attack))
    with pytest.raises(UserError, match=r"evil\.pkl.*(posix|nt)\.system"):
        load_pickle(path)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "eval"), ("builtins", "getattr"), ("numpy", "load"), ("numpy.f2py", "dtype")]
)
def test_names_that_only_look_like_data_are_refused(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(UserError, match=name):
        load_pickle(path)


def _pickled_with_fake_chumpy(monkeypatch: pytest.MonkeyPatch, build) -> bytes:
    """Pickle ``build(Ch, Select)`` in a world where chumpy exists."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    ch = type("Ch", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    modules["chumpy.ch"].Ch, modules["chumpy.reordering"].Select = ch, select
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        return pickle.dumps(build(ch, select), 2)


def test_chumpy_arrays_become_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)

    def build(ch, select):
        plain, part = ch(), select()
        plain.__dict__.update(x=array, _dirty_vars=set())
        part.__dict__.update(a=plain, idxs=np.array([5, 1, 23]), preferred_shape=(3, 1))
        return {"shapedirs": plain, "more": [part, (plain,)]}

    path = tmp_path / "smpl.pkl"
    path.write_bytes(_pickled_with_fake_chumpy(monkeypatch, build))
    assert "chumpy" not in sys.modules
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["shapedirs"], array)
    np.testing.assert_array_equal(loaded["more"][0], [[5], [1], [23]])
    assert isinstance(loaded["more"][1][0], np.ndarray)


def test_chumpy_expressions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(ch, select):
        product = ch()
        product.__dict__.update(left=1, right=2)
        return product

    path = tmp_path / "smpl.pkl"
    path.write_bytes(_pickled_with_fake_chumpy(monkeypatch, build))
    with pytest.raises(UserError, match="chumpy expression"):
        load_pickle(path)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps(np.arange(1000))[:500])
    with pytest.raises(UserError, match=r"cut\.pkl"):
        load_pickle(path)
    with pytest.raises(UserError, match="does not exist"):
        load_pickle(tmp_path / "none.pkl")


@pytest.mark.parametrize("name", ["h36m/cameras.pkl", "mpi_inf_3dhp/cameras_train.pkl"])
def test_annotation_pickles_of_real_data_sets_load(shared: Path, name: str) -> None:
    content = load_pickle(shared / "data/images" / name)
    assert content
    assert isinstance(content, dict | list)


_PANDAS_3 = {  # DataFrame({"imgPath": ["a.png", "b.png"], "isValid": [[1, 0], [1]], "gt": ...}), pandas 3.1, protocol 4
    "texts in Python's form": (
        "c-n<iO>fgc5RLQE(v}Y)L_ne{y&#2)4?S@}s%Qg<S{PI$4oJ~zY;V0*?2Tow)kdNM4hgNaH-`TSH#ouU=A#Lyu!nfF``*l(**71XUw<}g"
        "cIlNIWCSJZwJs=lRzSw_3qJgWr`XX=mc<3?tqH~r2L*Q%sdynFE!_+x#JnKx)xC5O_Fqo^6J58b43;KAc|k#agH<w5!hXtGU^oVRYY7ZR"
        "0YgG=GL{cdF5rImiMiQ>u+JkyyEdiG2pexyk;vGh=>FjT%J-)K84pp^W_MjR%uRVz^-zg{#OEJ=O!_b;oNmi1%ZDzrb!Jtn5*wT9V+9Wf"
        "vQ$MCD#LGCB<fXCFwN)HM!4?;Xfk#@$E%M}Z0c4tOId&Q2+z+Zw+-#QN8k4ke$lc&-mb#nyhlB6ft$;iQUvzP>3ocVz7kXk36fN3t4x!S"
        "+mw{YF(JLWEp$WN6I(`z*q+Pq>SGig6S`*)YP^S@13kP9`#{%^mZU!ZLu$=P-QTYLXCcA<k>=?<#JAnczBYvEfY>2kW3kpTnr7Wyc4ov+"
        "c<BaEa@6Zg@?-YGoKdUD1FhNKIy)k_qqr_^F8JiOXfGM!Z|RNEw3m7{$>P_b1bHAS-$I&1^u)26zgJV5N%AWj=N+YAKLi=`1q~we=_wTy"
        "iXKuoOEt);HnZWhaV(QtUp5(;h$hr%KC%<4*I33C*dlu52vCaV@RW?rj#7y2_70@!;J9Q_m6KmUah5{BX$a5CDsX=TGnsvJ"
    ),
    "texts in Arrow's form": (
        "c-n<j&u`N(6i&N#W8EkPp|JzMj^z@8gaik~G&=DsBA_85E|v9?x^c85jT}d#5)*LP*d*Wf_(S;5IC6t$C+k);z*20-e(!t!p1<eMt#993"
        "j%|7|hin7|>g6p^@Ki#|@fh!X!9DEj7E2?E`etS0h7-x%I8$6^kQ8nT8AM!?@9L9e67IaJ{>fdh)gCN~gW}W$^(9tjc^vK}oCU_m7+<W7"
        "K}wjCO>a}m$?jVv<1E@VYo`ZVW;rlxhk7NSf-!U{2I?-8yijz&dixmr;)?F7Y0lYrA{itxv7~6L3CM`E!ouS|Zll-q9M2hI-zSgde9D4y"
        "Jg#_L2+BB7ac1%pOcg)D9;`ccYu96^9xbBz#C36N&;d8kqQG>s4L(F)*_mEsBXd9$j$WzwZrOi|yi~KpXP<sn$On~22%+GVj4}{6bh}96"
        "(AX1$hS&IN*_d9e=(Vg&^Qp`1t)(T=s1vtJsR}0<WuOd|iPg526qBx@Cg?f)IA{cDu=)hu^qL1KHgtP*a=_;6hj?^Y?JwxYNA!LF<u7Ws"
        "^EMO)N0if{b$5ug*MK34$70i9i@`kdbKM-z;XV2T&oOv|+s=O)lG#7Pyq`h**!bIMAvks70r@SQ&FTRX9lbtZ4kP}77j6IrN8Mo=-(@e%"
        "8s&(twS6+T<usxaL(#3oEG~<yeX(|)AQxtWG$NXjUaH4#J@(GkTrW<eH=smZyd%+%B6W`Pge&ffdvnqf_l>4>D>E;EU)rUV7<9HFi})ED"
        ";>ai6DUga(qFYpSIi<%;I87SXlUuR27>R`{$Iu?zmxT&A<qB*bh9o>tir$Ysqw8@3k)2+HB$@0MY*gkXZcv;h5O8`t4vR8ye*-hAwW9"
    ),
}


@pytest.mark.parametrize("form", _PANDAS_3)
def test_tables_of_pandas_3_come_through(form: str) -> None:
    table = read_pickle(zlib.decompress(base64.b85decode(_PANDAS_3[form])), "table")
    assert table["imgPath"].tolist() == ["a.png", "b.png"]
    assert table["isValid"].tolist() == [[1, 0], [1]]
    np.testing.assert_array_equal(table["gt"][1], [np.ones((2, 2))])


_OTHER_COLUMNS = {  # of few values ("imgPath"), of numbers with gaps ("n"), of truths, and of texts with gaps
    4: (
        "c-oCs&1=*^6i>Fht=-mIE7T&TA}FqxwH1*bL}|BJ+F)9$2p*PUlFVkpW|NRiXcsK%p<gfu!SN6E=1t#BCf(h-MFZWL=6(I%?|tM;^~b9zLp^"
        "*l!I6hE!Kb${!*5dDBjUSw@>Lv*2Ct%?p9;QG=rr9pCCwmWB#m&GHG4S1K1soLb~B9K?%U#jFmLchZGytU$p$up-$Hqm1a3DZ$dN{%&F_pT<"
        "21#6&|F3+=^qW$?X3+d*~D&_cwj~iKGVXC_;DJzID|L5_a}c=?K5#8W%EO_E!Izl(yF^!L?F!4XmTDoB3aYH84<jWB65g!<hvqXt-LF8JRnT"
        ")o7%pFJr5}3!*?tVB3}U>#GOV7MoLfcnWT@UViR%}d=8}~V}L-5fkOI-&q>&*6Q>A=0n`YnnhkO46O<|U;sjE)DwbgxZPBp7Vmj#~C+~Dr75"
        "EJ&4?-41vbs*6k<xc-$<R+tpLKmIkMfT`rO#S*+)N_hkw2FL(iS#TH$I6x#j7ktk#ET}pVHZh?a#jo&!>fji(N{9jNIYXNcNhYE6G%xdL)Iq"
        "UVvmV%6mz_iBw5?Ii#RTn+2NOID+hRm&rIar3vOx0-c;?oQRg`2-yY=%d{#dg6{L0S3;`<YvSU(kWO&(ldx@j_cuK1$1<33E?O1C6mU5e4qf"
        "H7EDT(tT!TOJOp&g-Y=-X90~wIMFT+8=Q$auS%HH}Q3~i4Fc`buL$=b@q08T9v6L?8o>0mU*UmZ5P1LFjPcBQ*&NHyf&kR$^DC|DoP`{mfY="
        "S|%R6J<ldYw+B|S@(L+&f4{<YCcWniEbZ@vJ}uYbx7pJ^P%C)a>+o&n)nw3n{gZx9E~zSkH;hYHi&<5y+)BM-2hyr`ypfs*o0NRQvL@z@<aN"
        "#L7$ADPE$>%8Yt5o9k9zeG_RbaYUa_H@dKnSx&>$}_6A^-QzYqCK&w`57$_4Gz&*Mwp|1P~=-TB<k>OWMl=_=t%<1!%K5y%DVJ!NEpy%&nMu"
        "Y4FtT8W&yV<qrjI0Zt&Q7r+06%oh0gik!w1q(m^T}|^U^;mfc4z`g%L{>vsVs@wFjWNAgheQaq@zA_u#bC$VKp^v=u6BPe9VsJn(BnuSJ%5Z"
        "4CBKLd3gd$06rTi#14TE**WxT^AA5lwgL"
    ),
    5: (
        "c-oCsTWi!n6i(9J)?TdDf))`)P+VVD1(70(_JWs2qbLYIlwp$0X2Rx1GNE0ts7PB2^X9n!(>LGr%<N>F4K137%p~VB-}%mEzO;XC&KT<9(-}"
        "^DTnIk9i5Y&D<Cusa;`UduCpx@^;vg6N>PV;Sr8((_2_t!eqoNz*1P3Gs+lBQg_4=<z-(cS17qtnBLbo`!5&Rq~lPvW55kamr0&TuLp^Wn!4"
        "?yz@LfK&VSl!uNlah7p^@$H=)Zp_Qn2{jOLk~yrXY1PZua<Kt-bvX~O}5DfSuLzNPm2f~voaZ+Pj*Ssb#XxipF;`RK`-UM(RuA^ugLL%Fu~7"
        "i`wI3FpiFn(vph@!1^D>fS(IU<^aP*J23RU~A!flBQBDd52(%a|q&NAZgpGP>j&Kx0j)1C#2<HJog>o<UAynJ44cpij9S1CCvjK9;UQcCVxM"
        "EB`ZN1LvRoT-!!|EG%vm|ikOG(JKaG2WhY2+&kCFi5iDoXi`4n#cv{Cni)U}WK8j}nNxba^Y0W#yDgGLz;$$svVDAX!ezI2&}4VjuPd@&)9e"
        "UY^F|KsrOK3c(b-txRC`D+pG2PaJ)hdGFX$-25aQ$JzP=k9ye#6RvIT3vO-*21*CQ<!9V7j98dJ!rDa?deRT@XxiqX;#3vUJil0n7nfk6)3*"
        "Q#^U?(JP<l)j#}=P~GSJDhjeW6Ux?%(goZ8lbps%>~X7v~-eLD&B3BWvpJZ>u!1K77sOyDQ|C>=DAHOp?{CG;3{U!&yONL49)(HSmP6zX-Vs"
        "saftT&*+s=oAL&d&wU-jd9UePOY(1<;J~tdVG^k=+nJ%3Zbgz0RDsfwLUFM8MkFm{VVSEG>r&OCgY}qCb+}e(ckJqqal0<Xey^QJPOW~-I|0"
        "$uj}(}&|4jP`{edCReM68nd2hXjn`~Yv$0ls)%R|rF9GZ$`WOIP&Kkfx(7Y<FExTRE%7nylnO>1-ul@(__IRw^8QyK+)R%{`sMm9PJ+Idb4g"
        "A%27zb}Lqhav@2AZFw{o=%cCMJmvXniz2AOa|scQ^@1Z5D$R+L+;-LF@4rOwtU(mKy>aQ&|!<d|C)n3YVSiik`acU@FIiVbvzvP?DH2xYG9I"
        "1nWgOP}@s5iqf3|`DF&P0xk~}VVA&l_8rQ!`xj((ngI"
    ),
}


@pytest.mark.parametrize("protocol", _OTHER_COLUMNS)
def test_other_columns_of_pandas_come_through(protocol: int) -> None:
    table = read_pickle(zlib.decompress(base64.b85decode(_OTHER_COLUMNS[protocol])), "table")
    assert table["imgPath"].tolist() == ["a.png", "b.png"]
    assert table["isValid"].tolist() == [[1, 0], [1]]
    assert table["n"].tolist() == [None, 3]
    assert table["ok"].tolist() == [True, False]
    assert table["s"].tolist() == ["x", None]


@given(
    st.recursive(
        st.one_of(
            *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
            hnp.arrays(st.sampled_from(["<f4", ">i8", "|b1", "<U3", "|S2", "<c16"]), hnp.array_shapes(min_dims=0)),
        ),
        lambda part: st.one_of(
            *(st.lists(part, max_size=4), st.tuples(part, part), st.dictionaries(st.text(), part, max_size=3)),
        ),
        max_leaves=8,
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_what_is_data_comes_back_as_it_was(value: object, protocol: int) -> None:
    _assert_same(read_pickle(pickle.dumps(value, protocol), "value"), value)


def _assert_same(found: object, given: object) -> None:
    if isinstance(given, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (given.dtype, given.shape)
        np.testing.assert_array_equal(found, given)
        return
    assert type(found) is type(given)
    if isinstance(given, dict):
        found, given = [*found.keys(), *found.values()], [*given.keys(), *given.values()]
    if isinstance(given, list | tuple):
        assert len(found) == len(given)
        for one, other in zip(found, given, strict=True):
            _assert_same(one, other)
    else:
        assert found == given


def _called(module: str, name: str, args: object, state: object = None) -> bytes:
    """The operations (without the end) that call ``module.name(*args)``, and give the result a state."""
    plain = [pickle.dumps(part, 2)[2:-1] for part in (args, state)]
    return f"c{module}\n{name}\n".encode() + plain[0] + b"R" + (plain[1] + b"b" if state is not None else b"")


_DTYPE = _called("numpy", "dtype", ("f8", 0, 1))
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
_DEEP_KEY = b"}" + b")" + b"\x85" * 100_000 + b"Ns."
_LAUGHS = b"](K\x00K\x00e" + b"".join(b"q%c0](h%ch%ce" % (at, at, at) for at in range(40)) + b"."


@pytest.mark.parametrize(
    "hostile",
    [
        # An array of objects whose pointers are the file's bytes, in the three ways to make an array.
        b"\x80\x03cnumpy\nndarray\n(K\x01\x85" + _called("numpy", "dtype", ("O8", 0, 1)) + b"C\x08AAAAAAAAtR.",
        b"\x80\x03" + _ARRAY + b"(K\x01K\x01\x85" + _called("numpy", "dtype", ("O8", 0, 1)) + b"\x89C\x08AAAAAAAAtb.",
        b"\x80\x03cnumpy.core.multiarray\nscalar\n" + _called("numpy", "dtype", ("O8", 0, 1)) + b"C\x08AAAAAAAA\x86R.",
        # Raw memory, fields, and a type that is changed after an array was made of it.
        b"\x80\x03" + _ARRAY + b"(K\x01K\x01\x85" + _called("numpy", "dtype", ("V8", 0, 1)) + b"\x89C\x08AAAAAAAAtb.",
        b"\x80\x03" + _called("numpy", "dtype", ("f8", 0, 1), (3, "<", None, ("a",), {"a": 1}, 8, 1, 0)) + b".",
        b"\x80\x03" + _called("numpy", "dtype", ("f8", 0, 1), (3, "<", None, None, None, 800, 1, 0)) + b".",
        b"\x80\x03" + _called("numpy", "dtype", ("f8", 0, 1), (3, "<", None, None, None, -1, -1, 0)) + b"Nb.",
        # Content that is shorter than the shape, or longer; impossible shapes.
        b"\x80\x03" + _ARRAY + b"(K\x01K\x09\x85" + _DTYPE + b"\x89C\x08AAAAAAAAtb.",
        b"\x80\x03" + _ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + _DTYPE + b"\x89C\x08AAAAAAAAtb.",
        # Sizes from nothing.
        _called("builtins", "bytearray", (10**10,)) + b".",
        _called("builtins", "range", (3 * 10**8,)) + b".",
        b"cbuiltins\ntuple\n" + _called("builtins", "range", (3 * 10**8,)) + b"\x85R.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".",
        b"\x80\x02\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + b".",  # a number without an end
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        b"]r\xff\xff\xff\x7f.",  # a memo of two thousand million entries: harmless here, and refused nowhere else
        # Nesting and repeated references.
        b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
        b"\x80\x02" + _DEEP_KEY,
        b"\x80\x02" + _LAUGHS,
        b"]q\x00h\x00a.",
        # Changing what others share: classes, functions, other values.
        b"\x80\x02cnumpy\ndtype\nN}X\x04\x00\x00\x00makeK\x01s\x86b.",
        b"]}X\x01\x00\x00\x00aK\x01sb.",
        b"cchumpy.ch\nCh\n.",
        # Sparse matrices whose indices lie outside.
        b"\x80\x02cscipy.sparse._csc\ncsc_matrix\n)\x81"
        + pickle.dumps(
            {"_shape": (3, 3), "data": [1.0], "indices": [900_000], "indptr": [0, 1, 1, 1], "maxprint": 50}, 2
        )[2:-1]
        + b"b.",
    ],
)
def test_what_would_corrupt_memory_or_take_it_all_is_refused(hostile: bytes) -> None:
    if hostile.startswith(b"]r"):
        assert read_pickle(hostile, "memo.pkl") == []
        return
    with pytest.raises(UserError, match=r"hostile\.pkl"):
        read_pickle(hostile, "hostile.pkl")


def test_what_is_shared_as_real_files_share_it_comes_through() -> None:
    camera = {"f": np.ones((2, 1)), "c": np.ones((2, 1))}
    people = [{"camera": camera, "box": [0.0, 1.0, 2.0, 3.0], "name": "S1"} for _ in range(20_000)]
    assert len(read_pickle(pickle.dumps(people, 2), "people")) == 20_000


def test_the_pickles_of_public_reports_are_refused(shared: Path) -> None:
    found = [*(shared / "field/damaged/pickles").glob("*.pkl"), shared / "field/damaged/3dpw_segv.pkl"]
    assert len(found) >= 4
    for path in found:
        with pytest.raises(UserError, match=path.name):
            load_pickle(path)


@pytest.mark.parametrize(
    ("name", "reason"), [("page", "web page"), ("pointer", "git lfs pull"), ("half", "zip archive")]
)
def test_bad_downloads_are_named_for_what_they_are(shared: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_pickle(shared / f"field/bad-downloads/{name}.pkl")
