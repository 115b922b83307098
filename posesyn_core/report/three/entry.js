// What the report's 3D view uses of three.js; see README.md for how three.min.js is made from it.
export {
  BufferAttribute, BufferGeometry, Color, CylinderGeometry, DirectionalLight, GridHelper, Group, HemisphereLight,
  InstancedMesh, Matrix4, Mesh, MeshLambertMaterial, PerspectiveCamera, Quaternion, Scene, SphereGeometry, Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
